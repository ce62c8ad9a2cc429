// SPDX-License-Identifier: GPL-2.0-only
/*
 * One case.
 *
 * It runs in a mount namespace and a session of its own, in an empty tmpfs, with the guest's root read-only:
 * no case can depend on what another one did before it. Afterwards every process is killed, what is left
 * mounted or attached is counted and taken away, the modules are made again what they were, leaks are looked
 * for, and only then the end is reported: the kernel messages of all that belong to the case as well, and so
 * does a crash in it.
 */
#define _GNU_SOURCE
#include "runcase.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <linux/capability.h>
#include <unistd.h>

#define BEAT_MS 1000
#define WORD_MS 1000                    /* for the host's answer */
#define KILL_GRACE_MS 5000
#define CLEANUP_GRACE_MS 10000
#define LEAKS_GRACE_MS 60000            /* two scans of all memory, under emulation */

struct leftovers {
	int mounts, loops;
};

/* How the guest came out of a case. */
struct aftermath {
	struct leftovers left;
	char words[1024];               /* what else was left, or restored: for the end record */
	char why[1024];                 /* the guest is of no more use; "" where it is */
};

/* ---- waiting ---------------------------------------------------------------------------------------- */

static void reap(struct running *r)
{
	int status;
	pid_t pid;

	/* As PID 1 the agent inherits every orphan: no child means that no user process is left. */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == r->leader) {
			r->status = status;
			r->ended_ms = uptime_ms();
		}
	}
	r->childless = pid < 0 && errno == ECHILD;
}

static void beat(struct running *r)
{
	r->next_beat_ms = uptime_ms() + BEAT_MS;
	rec_begin("beat");
	rec_number("uptime_ms", uptime_ms());
	rec_end();
}

/*
 * Whether a limit that is so far away has passed. Whoever was kept waiting for long has a clock that is ahead,
 * and does not know yet: a beat tells the host the time, and it has a while to answer.
 */
static bool passed(struct running *r, int64_t left_ms, int64_t *asked_ms)
{
	if (left_ms > 0) {
		*asked_ms = 0;
	} else if (!*asked_ms) {
		*asked_ms = uptime_ms();
		beat(r);
	}
	return *asked_ms && uptime_ms() - *asked_ms >= WORD_MS;
}

static bool leader_ended(const struct running *r)
{
	return r->ended_ms != 0;
}

static bool all_ended(const struct running *r)
{
	return r->childless;
}

/*
 * Serves pipes, kernel messages, beats and the host's word until the condition holds; false when the time, the
 * guest's own, is over first.
 */
static bool serve_until(struct running *r, bool (*condition)(const struct running *), int64_t limit_ms)
{
	int64_t deadline_ms = own_ms() + limit_ms, asked_ms = 0;
	sigset_t nothing_blocked;

	sigemptyset(&nothing_blocked);
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = r->out, .events = POLLIN },
			{ .fd = r->obs, .events = POLLIN },
			{ .fd = r->kmsg, .events = POLLIN },
			{ .fd = channel_fd(), .events = POLLIN },
		};
		struct timespec pause;
		int64_t left_ms, wait_ms;

		reap(r);
		if (condition(r))
			return true;
		host_listen();
		left_ms = deadline_ms - own_ms();
		if (passed(r, left_ms, &asked_ms))
			return false;
		wait_ms = r->next_beat_ms - uptime_ms();
		if (left_ms > 0 && left_ms < wait_ms)
			wait_ms = left_ms;
		wait_ms = wait_ms > 0 ? wait_ms : 0;
		pause.tv_sec = wait_ms / 1000;
		pause.tv_nsec = wait_ms % 1000 * 1000000;
		/* SIGCHLD is blocked but for this call, so an end between reap() and here is not missed. */
		if (ppoll(fds, 4, &pause, &nothing_blocked) > 0) {
			drain_pipe(r, &r->obs);
			drain_pipe(r, &r->out);
			drain_kmsg(r);
		}
		if (uptime_ms() >= r->next_beat_ms)
			beat(r);
	}
}

static const char *const own_mounts[] = { WORK_DIR, "/tmp", "/mnt", "/root" };
#define OWN_MOUNTS (sizeof(own_mounts) / sizeof(own_mounts[0]))

/* ---- sandbox ---------------------------------------------------------------------------------------- */

/* The agent itself enters the new namespace, prepares it, and goes home after the fork. */
static int make_namespace(int home)
{
	int fd;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		fatal("cannot make a case's mount namespace", strerror(errno));
	for (size_t i = 0; i < OWN_MOUNTS; i++)
		if (mount("case", own_mounts[i], "tmpfs", MS_NOSUID, "mode=0755,size=75%") < 0)
			fatal(own_mounts[i], strerror(errno));
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
		fatal("cannot make a case's root read-only", strerror(errno));
	fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || home < 0)
		fatal("cannot open a mount namespace", strerror(errno));
	return fd;
}

static void make_pipe(int ends[2])
{
	if (pipe2(ends, O_CLOEXEC) < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
		fatal("cannot make a pipe", strerror(errno));
}

static _Noreturn void become_case(const struct planned *planned, const char *module_path, int out, int obs)
{
	sigset_t nothing_blocked;

	set_environment(planned->id, module_path, "dumb");
	sigemptyset(&nothing_blocked);
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_SETMASK, &nothing_blocked, NULL);
	setsid();
	umask(022);
	state_inherit();
	/* Root may look into other processes and at I/O ports, and the nonce is in the agent's memory. */
	prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE);
	prctl(PR_CAPBSET_DROP, CAP_SYS_RAWIO);
	/* The agent's own descriptors are above 3 and close on exec: the channel took 3 before any pipe. */
	dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
	dup2(out, 1);
	dup2(out, 2);
	dup2(obs, 3);
	if (chdir(WORK_DIR) == 0) {
		execve(planned->script, planned->args, environ);
		if (errno == ENOEXEC)   /* no #! line: the shell's, as a shell would have it */
			execve("/bin/sh", planned->shell_args, environ);
	}
	dprintf(2, "kmodpipe: cannot run %s: %s\n", planned->script, strerror(errno));
	_exit(127);
}

/* What is about to be run, as the host packed it or as an earlier case has made it. */
static void tell_digest(const char *key, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char sha256[SHA256_HEX] = "";

	if (fd >= 0) {
		sha256_of_file(fd, sha256);
		close(fd);
	}
	rec_text(key, sha256);
}

static void start_case(struct running *r, const char *module_path, int *namespace)
{
	static int home = -1;
	int out[2], obs[2];

	if (home < 0)
		home = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	begin_kmsg(r);
	make_pipe(out);
	make_pipe(obs);
	begin_record(r, "start");
	rec_text("id", r->planned->id);
	tell_digest("script", r->planned->script);
	tell_digest("lib", LIB_PATH);
	rec_end();
	/* Out of the kernel's buffer before the case can crash it: the host must know whom to charge. */
	channel_drain();
	*namespace = make_namespace(home);
	r->started_ms = uptime_ms();
	r->next_beat_ms = r->started_ms + BEAT_MS;
	r->leader = fork();
	if (r->leader == 0)
		become_case(r->planned, module_path, out[1], obs[1]);
	if (r->leader < 0 || setns(home, CLONE_NEWNS) < 0)
		fatal("cannot start a case", strerror(errno));
	close(out[1]);
	close(obs[1]);
	r->out = out[0];
	r->obs = obs[0];
}

/* ---- what is left behind ----------------------------------------------------------------------------- */

/* Undoes the octal escapes of mountinfo, in place. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		unsigned int code;

		if (*from == '\\' && sscanf(from + 1, "%3o", &code) == 1) {
			*to = code;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* What is left to a child, as it may hang and the agent must not. */
struct chore {
	void (*work)(const struct chore *chore, void *answer);
	int namespace, expected_mounts; /* the case's, or -1 */
	int64_t grace_ms;
};

/* Takes the child's answer. False when it did not come to its end. */
static bool in_child(struct running *r, const struct chore *chore, void *answer, size_t size)
{
	int report[2];
	bool ended;
	pid_t child;

	make_pipe(report);
	child = fork();
	if (child == 0) {
		chore->work(chore, answer);
		_exit(write(report[1], answer, size) != (ssize_t)size);
	}
	if (child < 0)
		fatal("cannot clean up behind a case", strerror(errno));
	close(report[1]);
	/* The child is the last to hold the case's namespace: the mounts that resisted go as it ends. */
	if (chore->namespace >= 0)
		close(chore->namespace);
	ended = serve_until(r, all_ended, chore->grace_ms * r->slow);
	if (!ended) {
		kill(-1, SIGKILL);
		ended = serve_until(r, all_ended, KILL_GRACE_MS * r->slow);
	}
	if (read(report[0], answer, size) != (ssize_t)size)
		memset(answer, 0, size);
	close(report[0]);
	return ended;
}

static void clean_up(const struct chore *chore, void *answer)
{
	static char points[512][256];
	struct leftovers *left = answer;
	int count;

	if (setns(chore->namespace, CLONE_NEWNS) < 0)
		_exit(1);
	count = count_mounts(points, 512);
	left->mounts = count > chore->expected_mounts ? count - chore->expected_mounts : 0;
	/* Newest first, so that the mounts below come free; the namespace's end takes what resists. */
	for (int i = (count < 512 ? count : 512) - 1; i >= chore->expected_mounts; i--) {
		unescape(points[i]);
		if (umount2(points[i], UMOUNT_NOFOLLOW) < 0)
			umount2(points[i], UMOUNT_NOFOLLOW | MNT_DETACH);
	}
	left->loops = count_loops(true);
}

static bool take_leftovers(struct running *r, int namespace, struct leftovers *left)
{
	struct chore chore = {
		.work = clean_up,
		.namespace = namespace,
		.grace_ms = CLEANUP_GRACE_MS,
		/* What every case starts with: the agent's mounts and the case's own. */
		.expected_mounts = count_mounts(NULL, 0) + OWN_MOUNTS,
	};

	return in_child(r, &chore, left, sizeof(*left));
}

static void restore(const struct chore *chore, void *answer)
{
	(void)chore;
	*(int *)answer = state_restore();
}

/* Compares the guest with what it was, and makes good what can be. False when that did not come to its end. */
static bool make_good(struct running *r, struct aftermath *after)
{
	struct chore chore = { .work = restore, .namespace = -1, .grace_ms = CLEANUP_GRACE_MS };
	unsigned int found = state_changed(), changed = found;
	int error = 0;

	/* A taint, lockdep off, or files where every case sees them, cannot be undone: the guest ends. */
	if (found && !(found & (CHANGED_TAINT | CHANGED_LOCKDEP | CHANGED_FILES))) {
		if (!in_child(r, &chore, &error, sizeof(error)))
			return false;
		if (found & CHANGED_MODULES && !error)
			state_reloaded();
		changed = state_changed();
		if (found & ~changed & CHANGED_MODULES)
			snprintf(after->words, sizeof(after->words), "module:reloaded");
	}
	state_tell(changed, error, after->words, after->why, sizeof(after->why));
	return true;
}

/* One more reason to end the guest. */
static void add_why(struct aftermath *after, const char *word, const char *reason)
{
	size_t words = strlen(after->words), why = strlen(after->why);

	snprintf(after->words + words, sizeof(after->words) - words, "%s%s", words ? "," : "", word);
	snprintf(after->why + why, sizeof(after->why) - why, "%s%s", why ? ", " : "", reason);
}

#define SCANNED 1                       /* the answer of a child that was killed is 0 */

static void scan(const struct chore *chore, void *answer)
{
	(void)chore;
	*(int *)answer = SCANNED + leaks_scan();
}

/* What the case leaked, into its kernel messages. False when that did not come to its end. */
static bool find_leaks(struct running *r, struct aftermath *after)
{
	struct chore chore = { .work = scan, .namespace = -1, .grace_ms = LEAKS_GRACE_MS };
	char told[128];
	int answer = 0, error;

	if (!leaks_wanted())
		return true;
	if (!in_child(r, &chore, &answer, sizeof(answer)))
		return false;
	error = answer ? answer - SCANNED : EINTR;
	if (error) {    /* it has given up, which the kernel's messages tell: another guest can have it again */
		snprintf(told, sizeof(told), "kmemleak does not scan (%s)", error_name(error));
		add_why(after, "leaks:unknown", told);
	}
	return true;
}

/* ---- the end ---------------------------------------------------------------------------------------- */

static void send_cut(struct running *r, const char *stream, size_t dropped)
{
	if (!dropped)
		return;
	begin_record(r, "cut");
	rec_text("stream", stream);
	rec_number("dropped", dropped);
	rec_end();
}

static void send_end(struct running *r, const char *how, int processes, const struct aftermath *after)
{
	char text[1200];
	int status = 0;

	if (leader_ended(r))
		status = WIFEXITED(r->status) ? WEXITSTATUS(r->status) : WTERMSIG(r->status);
	snprintf(text, sizeof(text), "mounts:%d,loops:%d,procs:%d%s%s", after->left.mounts, after->left.loops,
		 processes, after->words[0] ? "," : "", after->words);
	begin_record(r, "end");
	rec_text("how", how);
	rec_number("status", status);
	rec_number("ms", (r->ended_ms ? r->ended_ms : uptime_ms()) - r->started_ms);
	rec_text("left", text);
	rec_end();
}

/* Where the survivors of SIGKILL hang: their stacks go to the console and into this case's messages. */
static void show_blocked(void)
{
	int fd = own_open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "w", 1) != 1)
		perror("kmodpipe-agent: sysrq-trigger");
	if (fd >= 0)
		close(fd);
}

const char *run_case(const struct planned *planned, const struct plan *plan, const char *module_path)
{
	static char why[1200];
	struct running r = { .planned = planned, .slow = plan->slow, .out = -1, .obs = -1, .kmsg = -1 };
	struct aftermath after = { 0 };
	bool in_time, stuck;
	const char *how;
	int namespace, processes;

	start_case(&r, module_path, &namespace);
	in_time = serve_until(&r, leader_ended, planned->timeout_ms);
	how = !in_time ? "timeout" : WIFEXITED(r.status) ? "exit" : "signal";
	processes = count_processes(NULL);
	kill(-1, SIGKILL);
	stuck = !serve_until(&r, all_ended, KILL_GRACE_MS * r.slow);
	if (!stuck)
		stuck = !take_leftovers(&r, namespace, &after.left) || !make_good(&r, &after) ||
			!find_leaks(&r, &after);
	if (stuck) {
		show_blocked();
		snprintf(after.why, sizeof(after.why), "a process is stuck in the kernel");
	} else {
		counters_take(planned->index);
	}
	/* What was written before the end is in the pipes still. */
	drain_all(&r);
	if (r.told_once)
		add_why(&after, "ubsan:told", "UBSAN does not report a place twice");
	send_cut(&r, "out", r.out_dropped);
	send_cut(&r, "kmsg", r.kmsg_dropped);
	send_cut(&r, "obs", r.obs_dropped);
	if (channel_sent() > GUEST_LIMIT)
		add_why(&after, "channel:full", "much was sent");
	send_end(&r, stuck ? "stuck" : how, processes, &after);
	for (int *fd = (int[]){ r.out, r.obs, -2 }; *fd != -2; fd++)
		if (*fd >= 0)
			close(*fd);
	if (!after.why[0])
		return NULL;
	snprintf(why, sizeof(why), "after case %s: %s", planned->id, after.why);
	return why;
}
