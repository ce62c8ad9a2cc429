// SPDX-License-Identifier: GPL-2.0-only
/*
 * What of the guest outlives a case, compared with what it was before the first one.
 *
 * Modules and their parameters are made again what they were; a mount or a loop device that clings is given a
 * moment. Whatever cannot be undone (a module in use, a taint, lockdep that is off) ends the guest, not only the
 * case.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#define PATIENCE_MS 1000

/* File systems that every case sees: what one adds or removes, all find. */
static const char *const shared[] = { "/", "/dev" };
#define SHARED (sizeof(shared) / sizeof(shared[0]))

struct state {
	char modules[32 * 1024];
	unsigned long long taint;
	bool lockdep;
	int mounts, loops;
	struct room {
		fsblkcnt_t blocks;
		fsfilcnt_t files;
	} room[SHARED];
	uint64_t files;                 /* of the root file system: what is there, and when it was last written */
};

static const struct plan *plan;
static struct state before, now;

static uint64_t files_seen;

static void mix(const void *data, size_t size)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < size; i++)       /* FNV-1a */
		files_seen = (files_seen ^ bytes[i]) * 0x100000001b3;
}

/* Nobody can set a file's change time. What is written through a mapping does not set it: see the digests. */
static int see_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)type;
	(void)at;
	mix(path, strlen(path));
	mix(&st->st_ino, sizeof(st->st_ino));
	mix(&st->st_mode, sizeof(st->st_mode));
	mix(&st->st_size, sizeof(st->st_size));
	mix(&st->st_ctim.tv_sec, sizeof(st->st_ctim.tv_sec));
	mix(&st->st_ctim.tv_nsec, sizeof(st->st_ctim.tv_nsec));
	return 0;
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

static void look(struct state *state)
{
	char text[64];

	memset(state, 0, sizeof(*state));
	describe_modules(state->modules, sizeof(state->modules));
	read_file("/proc/sys/kernel/tainted", text, sizeof(text));
	state->taint = strtoull(text, NULL, 10);
	state->lockdep = lockdep_watches();
	state->mounts = count_mounts(NULL, 0);
	state->loops = count_loops(false);
	for (size_t i = 0; i < SHARED; i++) {
		struct statvfs fs;

		if (statvfs(shared[i], &fs) == 0)
			state->room[i] = (struct room){ fs.f_bfree, fs.f_ffree };
	}
	files_seen = 0xcbf29ce484222325;
	nftw("/", see_file, 16, FTW_PHYS | FTW_MOUNT);
	state->files = files_seen;
}

static unsigned int compare(void)
{
	unsigned int changed = 0;

	if (strcmp(now.modules, before.modules))
		changed |= CHANGED_MODULES;
	if (now.taint & ~before.taint)
		changed |= CHANGED_TAINT;
	if (before.lockdep && !now.lockdep)
		changed |= CHANGED_LOCKDEP;
	if (now.mounts != before.mounts)
		changed |= CHANGED_MOUNTS;
	if (now.loops != before.loops)
		changed |= CHANGED_LOOPS;
	for (size_t i = 0; i < SHARED; i++)
		if (now.room[i].blocks != before.room[i].blocks || now.room[i].files != before.room[i].files)
			changed |= CHANGED_FILES;
	if (now.files != before.files)
		changed |= CHANGED_FILES;
	return changed;
}

void state_remember(const struct plan *of_this_guest)
{
	plan = of_this_guest;
	look(&before);
}

unsigned int state_changed(void)
{
	look(&now);
	return compare();
}

int state_restore(void)
{
	const struct timespec pause = { .tv_nsec = 20 * 1000000 };
	int64_t deadline_ms = uptime_ms() + PATIENCE_MS * plan->slow;
	int error = 0;

	for (;;) {
		unsigned int changed = state_changed() & (CHANGED_MODULES | CHANGED_MOUNTS | CHANGED_LOOPS);

		if (changed & CHANGED_LOOPS)
			count_loops(true);
		if (changed & CHANGED_MODULES) {
			error = reload_modules(plan);
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

static void add(char *list, size_t size, const char *separator, const char *item)
{
	size_t used = strlen(list);

	snprintf(list + used, size - used, "%s%s", used ? separator : "", item);
}

static bool busy(int error)
{
	return error == EAGAIN || error == EBUSY;
}

void state_tell(unsigned int changed, int error, char *words, char *why, size_t size)
{
	char item[128], letters[32];

	if (changed & CHANGED_TAINT) {
		taint_letters(now.taint & ~before.taint, letters);
		snprintf(item, sizeof(item), "taint:%s", letters);
		add(words, size, ",", item);
		snprintf(item, sizeof(item), "the kernel is tainted (%s)", letters);
		add(why, size, ", ", item);
	}
	if (changed & CHANGED_LOCKDEP) {
		add(words, size, ",", "lockdep:off");
		add(why, size, ", ", "lockdep has turned itself off");
	}
	if (changed & CHANGED_MODULES) {
		add(words, size, ",", !error ? "module:changed" : busy(error) ? "module:busy" : "module:refused");
		snprintf(item, sizeof(item), "a module is not what it was (%s)",
			 error ? error_name(error) : "its state or a parameter differs");
		add(why, size, ", ", item);
	}
	if (changed & CHANGED_MOUNTS) {
		add(words, size, ",", "mounts:kept");
		add(why, size, ", ", "a mount cannot be taken away");
	}
	if (changed & CHANGED_LOOPS) {
		add(words, size, ",", "loops:kept");
		add(why, size, ", ", "a loop device cannot be detached");
	}
	if (changed & CHANGED_FILES) {
		add(words, size, ",", "files:changed");
		add(why, size, ", ", "/ or /dev was written to");
	}
}
