// SPDX-License-Identifier: GPL-2.0-only
/*
 * What of the guest outlives a case, compared with what it was before the first one.
 *
 * What outlives a case is what root can reach in the kernel: every file of the root file system, /dev, what can be
 * set in /proc and /sys and in the file systems beside them, modules, and what the agent hands on to its children.
 * What can be set is looked at, and what nobody can write to is not, but for the reports below; so a new kernel's
 * new knobs are looked at as well. What changes by itself is left out, by name.
 *
 * Modules and their parameters are made again what they were; a mount or a loop device that clings is given a
 * moment, and so is what the kernel does later. Whatever differs then ends the guest, not only the case.
 */
#define _GNU_SOURCE
#include "survey.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 1000
#define CLOCK_SLACK_NS (20 * 1000000)   /* between two readings, the guest may wait for a processor */
#define KEPT_OPEN 32768                 /* files of a survey */
#define UNDOABLE (CHANGED_MODULES | CHANGED_MOUNTS | CHANGED_LOOPS | CHANGED_KERNEL)

/* ---- the file systems ------------------------------------------------------------------------------- */

static const char *const unread_in_proc[] = {
	"sys/vm/drop_caches",           /* a command: its last word stays */
	"sys/vm/stat_refresh",          /* likewise; to read it is to do it */
	"sys/kernel/ns_last_pid",
	"sys/kernel/tainted",           /* has a word of its own */
	NULL,
};
static const char *const unread_in_sys[] = {
	"power/wakeup_count",           /* waits */
	"firmware/acpi/interrupts",     /* counts */
	/* What a loop device takes from the file that it is attached to, each time. */
	"devices/virtual/block/loop*/queue/rotational",
	"devices/virtual/block/loop*/queue/discard_max_bytes",
	"devices/virtual/block/loop*/queue/write_cache",
	NULL,
};
static const char *const unlisted_in_sys[] = {
	"kernel/slab",                  /* some caches are made with their first use */
	NULL,
};
static const char *const unread_in_debugfs[] = {
	"kmemleak",                     /* see leaks.c */
	"tracing",                      /* a file system of its own */
	"gcov",                         /* counts */
	NULL,
};
static const char *const unlisted_in_debugfs[] = { "bdi", "block", "block/*", NULL };
static const char *const unread_in_cgroups[] = { "cgroup.procs", "cgroup.threads", NULL };

static const struct tree trees[] = {
	{ .path = "/", .bit = CHANGED_FILES, .numbers = true, .times = true, .owners = true, .content = MAPPED },
	{ .path = "/dev", .bit = CHANGED_DEVICES, .numbers = true, .owners = true },
	{ .path = "/proc", .bit = CHANGED_KERNEL, .opened = true, .unread = unread_in_proc },
	{ .path = "/sys", .bit = CHANGED_KERNEL, .numbers = true, .opened = true, .unread = unread_in_sys,
	  .unlisted = unlisted_in_sys },
};

/* File systems of which there is one, whoever mounts it. */
static const struct tree others[] = {
	{ .path = "debugfs", .bit = CHANGED_KERNEL, .unread = unread_in_debugfs, .unlisted = unlisted_in_debugfs },
	{ .path = "tracefs", .bit = CHANGED_KERNEL },
	{ .path = "configfs", .bit = CHANGED_KERNEL },
	{ .path = "securityfs", .bit = CHANGED_KERNEL },
	{ .path = "binfmt_misc", .bit = CHANGED_KERNEL },
	{ .path = "cgroup2", .bit = CHANGED_KERNEL, .unread = unread_in_cgroups },
	{ .path = "mqueue", .bit = CHANGED_KERNEL },
	{ .path = "fusectl", .bit = CHANGED_KERNEL },
	{ .path = "pstore", .bit = CHANGED_KERNEL },
	{ .path = "efivarfs", .bit = CHANGED_KERNEL },
	{ .path = "selinuxfs", .bit = CHANGED_KERNEL },
};

/* What is set by other ways than by writing to a file, where the kernel reports it. */
static const char *const reports[] = {
	"/proc/cgroups", "/proc/consoles", "/proc/devices", "/proc/filesystems", "/proc/iomem", "/proc/ioports",
	"/proc/key-users", "/proc/locks", "/proc/mdstat", "/proc/misc", "/proc/swaps", "/proc/sysvipc/msg",
	"/proc/sysvipc/sem", "/proc/sysvipc/shm", "/proc/tty/drivers", "/proc/tty/ldiscs", "/sys/kernel/kexec_loaded",
	/* The network, beside the interfaces, which are in /sys. */
	"/proc/self/net/route", "/proc/self/net/ipv6_route", "/proc/self/net/if_inet6", "/proc/self/net/arp",
	"/proc/self/net/dev_mcast", "/proc/self/net/packet", "/proc/self/net/raw", "/proc/self/net/udp",
	"/proc/self/net/tcp", "/proc/self/net/tcp6", "/proc/self/net/udp6", "/proc/self/net/unix",
	"/proc/self/net/ip_tables_names", "/proc/self/net/ip6_tables_names", "/proc/self/net/arp_tables_names",
	"/proc/self/net/ip_vs",
	/* What a case inherits from the agent. */
	"/proc/self/limits", "/proc/self/oom_score_adj", "/proc/self/coredump_filter", "/proc/self/timerslack_ns",
	"/proc/self/cgroup", "/proc/self/loginuid", "/proc/self/autogroup", "/proc/self/attr/current",
	"/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups",
};

/* Mounts a file system for the agent alone: no case finds it mounted. -1 where the kernel has none. */
static int open_other(const char *type)
{
	char known[4096], word[64];
	int fd;

	snprintf(word, sizeof(word), "\t%s\n", type);
	if (read_file("/proc/filesystems", known, sizeof(known)) < 0 || !strstr(known, word))
		return -1;
	if (mount(type, "/mnt", type, MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return -1;
	fd = open("/mnt", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	umount2("/mnt", MNT_DETACH);
	return fd;
}

static void remember_files(void)
{
	DIR *block = own_list("/sys/block");
	struct dirent *entry;
	char path[300];

	for (size_t i = 0; i < sizeof(trees) / sizeof(trees[0]); i++) {
		int root = own_folder(trees[i].path);

		if (root < 0)
			root = open(trees[i].path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		survey_tree(&trees[i], root);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		int root = open_other(others[i].path);

		if (root >= 0)
			survey_tree(&others[i], root);
	}
	survey_file("/proc/modules", CHANGED_MODULES);
	survey_file("/proc/self/mountinfo", CHANGED_MOUNTS);
	for (size_t i = 0; i < sizeof(reports) / sizeof(reports[0]); i++)
		survey_file(reports[i], CHANGED_KERNEL);
	while (block && (entry = readdir(block))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/block/%s/ro", entry->d_name);
		survey_file(path, CHANGED_KERNEL);
	}
	if (block)
		closedir(block);
}

/* ---- what is in no file ----------------------------------------------------------------------------- */

static uint64_t agent_scheduling(void)
{
	struct sched_param param = { 0 };
	cpu_set_t cpus;
	uint64_t hash;

	CPU_ZERO(&cpus);
	sched_getparam(1, &param);
	sched_getaffinity(1, sizeof(cpus), &cpus);
	hash = hash_number(getpriority(PRIO_PROCESS, 1), sched_getscheduler(1));
	hash = hash_number(hash, syscall(SYS_ioprio_get, 1, 1));
	hash = hash_bytes(hash, &param, sizeof(param));
	return hash_bytes(hash, &cpus, sizeof(cpus));
}

static uint64_t clock_rate(void)
{
	struct timex now = { 0 };
	struct timezone zone = { 0 };
	struct timeval time;

	adjtimex(&now);
	gettimeofday(&time, &zone);
	const int64_t set[] = { now.freq, now.tick, now.tai, now.offset, zone.tz_minuteswest, zone.tz_dsttime };
	return hash_bytes(1, set, sizeof(set));
}

static uint64_t channel_settings(void)
{
	struct termios tio;

	memset(&tio, 0, sizeof(tio));
	tcgetattr(channel_fd(), &tio);
	return hash_bytes(1, &tio, sizeof(tio));
}

/* Programs, maps and links that hang on the kernel rather than on a process. */
static uint64_t bpf_objects(void)
{
	static const int commands[] = { BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID, BPF_LINK_GET_NEXT_ID };
	uint64_t hash = 0;

	for (int i = 0; i < 3; i++) {
		union bpf_attr attr = { 0 };

		while (syscall(SYS_bpf, commands[i], &attr, sizeof(attr)) == 0) {
			hash = hash_number(hash + i, attr.next_id);
			attr = (union bpf_attr){ .start_id = attr.next_id };
		}
	}
	return hash;
}

static uint64_t kernel_threads(void)
{
	uint64_t names = 0;

	count_processes(&names);
	return names;
}

/* A disk in memory keeps what is written to it, and is too large to be read: where there is one, all differs. */
static uint64_t lasting_disks(void)
{
	static uint64_t looks;
	DIR *block = own_list("/sys/block");
	struct dirent *entry;
	char path[300], size[32];
	bool found = false;

	while (block && (entry = readdir(block))) {
		if (entry->d_name[0] == '.' || !strncmp(entry->d_name, "loop", 4))
			continue;
		snprintf(path, sizeof(path), "/sys/block/%s/size", entry->d_name);
		if (read_file(path, size, sizeof(size)) > 0 && strtoull(size, NULL, 10))
			found = true;
	}
	if (block)
		closedir(block);
	return found ? ++looks : 0;
}

static const struct {
	const char *name;
	uint64_t (*read)(void);
} facts[] = {
	{ "the agent's priority", agent_scheduling },
	{ "the clock's rate", clock_rate },
	{ "the channel's settings", channel_settings },
	{ "BPF", bpf_objects },
	{ "kernel threads", kernel_threads },
	{ "a disk", lasting_disks },
};
#define FACTS (sizeof(facts) / sizeof(facts[0]))

/* How far the time of day is ahead of the time since boot, in ns. */
static int64_t clock_ahead(void)
{
	struct timespec day, boot;

	clock_gettime(CLOCK_MONOTONIC, &boot);
	clock_gettime(CLOCK_REALTIME, &day);
	return (day.tv_sec - boot.tv_sec) * 1000000000LL + day.tv_nsec - boot.tv_nsec;
}

/* Whether lockdep watches: it turns itself off with its first report. */
static bool lockdep_watches(void)
{
	static char text[8 * 1024];
	const char *line;

	if (read_file("/proc/lockdep_stats", text, sizeof(text)) < 0)
		return false;
	line = strstr(text, "debug_locks:");
	return line && strtol(line + strlen("debug_locks:"), NULL, 10);
}

/* ---- all of it -------------------------------------------------------------------------------------- */

/* File systems that every case sees: what one adds or removes, all find, were it a file without a name. */
static const char *const shared[] = { "/", "/dev" };
#define SHARED (sizeof(shared) / sizeof(shared[0]))

struct state {
	unsigned long long taint;
	bool lockdep;
	int loops;
	struct room {
		fsblkcnt_t blocks;
		fsfilcnt_t files;
	} room[SHARED];
	uint64_t facts[FACTS];
	int64_t clock_ahead;
};

static const struct plan *plan;
static struct state before, now;
static char names[512];                 /* what differs, for people */

static void look(struct state *state)
{
	char text[64];

	memset(state, 0, sizeof(*state));
	/* Written to, it takes bits, and never gives one back. */
	read_file("/proc/sys/kernel/tainted", text, sizeof(text));
	state->taint = strtoull(text, NULL, 10);
	state->lockdep = lockdep_watches();
	state->loops = count_loops(false);
	for (size_t i = 0; i < SHARED; i++) {
		struct statvfs fs;

		if (statvfs(shared[i], &fs) == 0)
			state->room[i] = (struct room){ fs.f_bfree, fs.f_ffree };
	}
	for (size_t i = 0; i < FACTS; i++)
		state->facts[i] = facts[i].read();
	state->clock_ahead = clock_ahead();
}

static void add(char *list, size_t size, const char *separator, const char *item)
{
	size_t used = strlen(list);

	snprintf(list + used, size - used, "%s%s", used ? separator : "", item);
}

static unsigned int compare(void)
{
	unsigned int changed = 0;

	if (now.taint & ~before.taint)
		changed |= CHANGED_TAINT;
	if (before.lockdep && !now.lockdep)
		changed |= CHANGED_LOCKDEP;
	if (now.loops != before.loops)
		changed |= CHANGED_LOOPS;
	for (size_t i = 0; i < SHARED; i++)
		if (now.room[i].blocks != before.room[i].blocks || now.room[i].files != before.room[i].files)
			changed |= i ? CHANGED_DEVICES : CHANGED_FILES;
	for (size_t i = 0; i < FACTS; i++) {
		if (now.facts[i] == before.facts[i])
			continue;
		changed |= CHANGED_KERNEL;
		add(names, sizeof(names), "; ", facts[i].name);
	}
	if (llabs(now.clock_ahead - before.clock_ahead) > CLOCK_SLACK_NS) {
		changed |= CHANGED_KERNEL;
		add(names, sizeof(names), "; ", "the clock");
	}
	return changed;
}

static struct rlimit case_files;

void state_inherit(void)
{
	setrlimit(RLIMIT_NOFILE, &case_files);
}

void state_remember(const struct plan *of_this_guest)
{
	struct rlimit limit;

	plan = of_this_guest;
	getrlimit(RLIMIT_NOFILE, &case_files);
	limit.rlim_cur = limit.rlim_max = KEPT_OPEN;
	setrlimit(RLIMIT_NOFILE, &limit);
	remember_files();
	look(&before);
}

unsigned int state_changed(void)
{
	unsigned int changed = survey_look(names, sizeof(names));

	look(&now);
	return changed | compare();
}

void state_reloaded(void)
{
	survey_accept();
}

int state_restore(void)
{
	const struct timespec pause = { .tv_nsec = 20 * 1000000 };
	int64_t deadline_ms = uptime_ms() + PATIENCE_MS * plan->slow;
	int error = 0;

	for (;;) {
		unsigned int changed = state_changed() & UNDOABLE;

		if (changed & CHANGED_LOOPS)
			count_loops(true);
		if (changed & CHANGED_MODULES) {
			error = reload_modules(plan);
			if (!error)
				state_reloaded();
			/* What loading anew does not change will not change by doing it again. */
			if (!error && state_changed() & CHANGED_MODULES)
				return 0;
		}
		if (!changed || uptime_ms() >= deadline_ms)
			return error;
		nanosleep(&pause, NULL);
	}
}

/* The bits of /proc/sys/kernel/tainted as the kernel itself spells them in an oops. */
static void taint_letters(unsigned long long bits, char *letters)
{
	static const char known[] = "PFSRMBUDAWCIOELKXTN";

	for (size_t i = 0; i < sizeof(known) - 1; i++)
		if (bits >> i & 1)
			*letters++ = known[i];
	if (bits >> (sizeof(known) - 1))
		*letters++ = '?';
	*letters = '\0';
}

static bool busy(int error)
{
	return error == EAGAIN || error == EBUSY;
}

void state_tell(unsigned int changed, int error, char *words, char *why, size_t size)
{
	static const struct {
		unsigned int bit;
		const char *word, *reason;
	} plain[] = {
		{ CHANGED_LOCKDEP, "lockdep:off", "lockdep has turned itself off" },
		{ CHANGED_MOUNTS, "mounts:kept", "a mount cannot be taken away" },
		{ CHANGED_LOOPS, "loops:kept", "a loop device cannot be detached" },
		{ CHANGED_FILES, "files:changed", "the root file system was written to" },
		{ CHANGED_DEVICES, "dev:changed", "/dev was written to" },
		{ CHANGED_KERNEL, "kernel:changed", "the kernel is not set up as it was" },
	};
	char item[600], letters[32];

	if (changed & CHANGED_TAINT) {
		taint_letters(now.taint & ~before.taint, letters);
		snprintf(item, sizeof(item), "taint:%s", letters);
		add(words, size, ",", item);
		snprintf(item, sizeof(item), "the kernel is tainted (%s)", letters);
		add(why, size, ", ", item);
	}
	if (changed & CHANGED_MODULES) {
		add(words, size, ",", !error ? "module:changed" : busy(error) ? "module:busy" : "module:refused");
		snprintf(item, sizeof(item), "a module is not what it was (%s)",
			 error ? error_name(error) : "its state or a parameter differs");
		add(why, size, ", ", item);
	}
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		if (!(changed & plain[i].bit))
			continue;
		add(words, size, ",", plain[i].word);
		add(why, size, ", ", plain[i].reason);
	}
	if (!(changed & (CHANGED_FILES | CHANGED_DEVICES | CHANGED_KERNEL)) || !names[0])
		return;
	snprintf(item, sizeof(item), "differs:%s", names);
	add(words, size, ",", item);
	snprintf(item, sizeof(item), ": %s", names);
	add(why, size, "", item);
}
