// SPDX-License-Identifier: GPL-2.0-only
/*
 * kp-inject N COMMAND...        runs a command, and fails the N-th slab allocation of its system calls
 * kp-inject profile COMMAND...  fails none, and tells which of them are made while the module under test runs
 *
 * What counts are allocations in system calls of the command and of all processes that it starts, in the order of
 * the calls; those of starting programs, of memory maps and of waiting are left out. Each process is traced, and
 * /proc/PID/fail-nth (Documentation/fault-injection/fault-injection.rst) is set as it enters a system call, to what
 * is left of N, and read as it leaves.
 *
 * Observations, on descriptor 3: "injected" is 1 or 0, 0 where there are fewer than N; of a profile "allocations-K"
 * are the numbers of the allocations in system calls that changed a counter of gcov, as "3-7,9-9".
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEBUGFS "/sys/kernel/debug"
#define ENDLESS 1000000000u
#define TASKS 1024
#define LINE 1000

struct task {
	pid_t pid;
	unsigned int armed;             /* what fail-nth was set to on entry; 0: it was not */
};

static struct task tasks[TASKS];
static unsigned int left;               /* until the one that fails */
static unsigned int counted;            /* so far */
static bool profile, injected;
static uint64_t counters;
static char line[LINE + 64];
static size_t used;
static int lines;

static void die(const char *what)
{
	fprintf(stderr, "kp-inject: %s: %s\n", what, strerror(errno));
	exit(125);
}

static void observe(const char *key, const char *value)
{
	dprintf(3, "%s\t%s\n", key, value);
}

/* ---- the kernel's settings --------------------------------------------------------------------------- */

static struct setting {
	const char *path, *wanted;
	char before[32];
	int fd;
} settings[] = {
	/* Those that may wait are nearly all. */
	{ .path = DEBUGFS "/failslab/ignore-gfp-wait", .wanted = "N" },
	/* A backtrace of each would fill the log. */
	{ .path = DEBUGFS "/failslab/verbose", .wanted = "0" },
};
#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

static void change(struct setting *setting)
{
	ssize_t size;

	setting->fd = open(setting->path, O_RDWR | O_CLOEXEC);
	size = setting->fd < 0 ? -1 : read(setting->fd, setting->before, sizeof(setting->before) - 1);
	if (size < 0 || pwrite(setting->fd, setting->wanted, strlen(setting->wanted), 0) < 0)
		die(setting->path);
}

/* The next case is to find the kernel as this one did: else it would get a guest of its own. */
static void change_back(void)
{
	for (size_t i = 0; i < SETTINGS; i++)
		if (pwrite(settings[i].fd, settings[i].before, strlen(settings[i].before), 0) < 0)
			die(settings[i].path);
}

/* A mount of its own, and gone again: the command finds the guest as any case does. */
static int settle(void)
{
	int gcov = -1;
	bool mounted = mount("debugfs", DEBUGFS, "debugfs", MS_NOSUID, NULL) == 0;

	if (!mounted && errno != EBUSY)
		die(DEBUGFS);
	for (size_t i = 0; i < SETTINGS; i++)
		change(&settings[i]);
	if (profile)
		gcov = open(DEBUGFS "/gcov", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mounted)
		umount2(DEBUGFS, MNT_DETACH);
	return gcov;
}

/* ---- what the module has executed -------------------------------------------------------------------- */

static void add_file(int folder, const char *name, uint64_t *sum)
{
	static unsigned char data[64 * 1024];
	int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	while (fd >= 0 && (n = read(fd, data, sizeof(data))) > 0)
		for (ssize_t i = 0; i < n; i++)
			*sum = (*sum ^ data[i]) * 0x100000001b3;
	if (fd >= 0)
		close(fd);
}

static void add_folder(int parent, int depth, uint64_t *sum)
{
	int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (list && (entry = readdir(list))) {
		size_t size = strlen(entry->d_name);
		int child;

		if (entry->d_type == DT_REG && size > 5 && !strcmp(entry->d_name + size - 5, ".gcda"))
			add_file(dirfd(list), entry->d_name, sum);
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.' || !depth)
			continue;
		child = openat(dirfd(list), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (child >= 0) {
			add_folder(child, depth - 1, sum);
			close(child);
		}
	}
	if (list)
		closedir(list);
}

static bool module_ran(int gcov)
{
	uint64_t now = 0xcbf29ce484222325;
	bool changed;

	if (gcov < 0)
		return true;
	add_folder(gcov, 32, &now);
	changed = now != counters;
	counters = now;
	return changed;
}

static void flush(void)
{
	char key[32];

	if (!used)
		return;
	snprintf(key, sizeof(key), "allocations-%d", lines++);
	line[used - 1] = '\0';
	observe(key, line);
	used = 0;
}

static void note(unsigned int first, unsigned int last)
{
	used += sprintf(line + used, "%u-%u,", first, last);
	if (used > LINE)
		flush();
}

/* ---- tasks ------------------------------------------------------------------------------------------- */

/* NULL where there are too many. */
static struct task *task_of(pid_t pid, bool *is_new)
{
	struct task *free_one = NULL;

	*is_new = false;
	for (struct task *task = tasks; task < tasks + TASKS; task++) {
		if (task->pid == pid)
			return task;
		if (!task->pid && !free_one)
			free_one = task;
	}
	*is_new = true;
	if (free_one)
		*free_one = (struct task){ .pid = pid };
	return free_one;
}

static int nth_of(pid_t pid, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fail-nth", pid);
	return open(path, flags | O_CLOEXEC);
}

static void set_nth(pid_t pid, unsigned int value)
{
	char text[16];
	int fd = nth_of(pid, O_WRONLY);
	int size = snprintf(text, sizeof(text), "%u", value);

	if (fd >= 0) {
		if (write(fd, text, size) < 0)
			perror("kp-inject: fail-nth");
		close(fd);
	}
}

static unsigned int get_nth(pid_t pid, unsigned int otherwise)
{
	char text[16] = "";
	int fd = nth_of(pid, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	return n > 0 ? strtoul(text, NULL, 10) : otherwise;
}

/* Calls that start, end and wait, and those for memory: what they allocate is no work of a module. */
static bool counts(uint64_t number)
{
	static const long not[] = {
		SYS_execve, SYS_execveat, SYS_clone, SYS_exit, SYS_exit_group, SYS_wait4, SYS_waitid,
		SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_brk, SYS_pipe2, SYS_ppoll, SYS_pselect6,
		SYS_nanosleep, SYS_clock_nanosleep, SYS_futex, SYS_rt_sigaction, SYS_rt_sigprocmask,
		SYS_rt_sigreturn, SYS_rt_sigsuspend, SYS_kill, SYS_tgkill,
#ifdef SYS_fork
		SYS_fork, SYS_vfork, SYS_pipe, SYS_poll, SYS_select, SYS_pause, SYS_arch_prctl,
#endif
#ifdef SYS_clone3
		SYS_clone3,
#endif
	};

	for (size_t i = 0; i < sizeof(not) / sizeof(not[0]); i++)
		if ((long)number == not[i])
			return false;
	return true;
}

static void at_syscall(struct task *task, int gcov)
{
	struct __ptrace_syscall_info info = { 0 };
	unsigned int now, made;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, task->pid, sizeof(info), &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY && !injected && counts(info.entry.nr)) {
		task->armed = left;
		set_nth(task->pid, left);
	} else if (info.op == PTRACE_SYSCALL_INFO_EXIT && task->armed) {
		now = get_nth(task->pid, task->armed);
		made = task->armed - now;
		set_nth(task->pid, 0);
		task->armed = 0;
		if (profile && made && module_ran(gcov))
			note(counted + 1, counted + made);
		counted += made;
		if (!profile) {
			/* What others made meanwhile, in calls of their own, is gone from it as well. */
			left = made < left ? left - made : 0;
			injected = injected || !left;
		}
	}
}

/* The status of the command, once it has ended. */
static int serve(pid_t leader, int gcov)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
			     PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;

	for (;;) {
		int status, signal = 0;
		pid_t pid = waitpid(-1, &status, __WALL);
		struct task *task;
		bool is_new;

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			die("wait");
		task = task_of(pid, &is_new);
		if (!WIFSTOPPED(status)) {
			if (task)
				*task = (struct task){ 0 };
			if (pid == leader)
				return status;
			continue;
		}
		if (is_new && ptrace(PTRACE_SETOPTIONS, pid, 0, options) < 0 && errno != ESRCH)
			die("options");
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			if (task)
				at_syscall(task, gcov);
		} else if (status >> 16 == 0 && !(is_new && WSTOPSIG(status) == SIGSTOP)) {
			/* No event of the tracing: the task's own signal. */
			signal = WSTOPSIG(status);
		}
		ptrace(PTRACE_SYSCALL, pid, 0, signal);
	}
}

int main(int argc, char **argv)
{
	int gcov, status;
	pid_t leader;

	if (argc < 3) {
		fputs("kp-inject N|profile COMMAND...\n", stderr);
		return 125;
	}
	profile = !strcmp(argv[1], "profile");
	left = profile ? ENDLESS : strtoul(argv[1], NULL, 10);
	gcov = settle();
	module_ran(gcov);
	leader = fork();
	if (leader < 0)
		die("fork");
	if (leader == 0) {
		if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
			die("trace");
		raise(SIGSTOP);
		execvp(argv[2], argv + 2);
		die(argv[2]);
	}
	status = serve(leader, gcov);
	change_back();
	flush();
	observe("injected", injected ? "1" : "0");
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}
