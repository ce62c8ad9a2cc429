// SPDX-License-Identifier: GPL-2.0-only
/*
 * What of the guest outlives a case, compared with what it was before the first one: what root can reach in the
 * kernel, see places.c and facts.c.
 *
 * Modules and their parameters are made again what they were; a mount or a loop device that clings is given a
 * moment, and so is what the kernel does later. Whatever differs then ends the guest, not only the case.
 */
#define _GNU_SOURCE
#include "survey.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>

#define PATIENCE_MS 1000
#define CLOCK_SLACK_NS (20 * 1000000)   /* between two readings, the guest may wait for a processor */
#define KEPT_OPEN 32768                 /* files of the survey */
#define MOST_FACTS 16
#define UNDOABLE (CHANGED_MODULES | CHANGED_MOUNTS | CHANGED_LOOPS | CHANGED_KERNEL)

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
	uint64_t facts[MOST_FACTS];
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
	for (size_t i = 0; i < fact_count(); i++)
		state->facts[i] = fact_now(i);
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
	for (size_t i = 0; i < fact_count(); i++) {
		if (now.facts[i] == before.facts[i])
			continue;
		changed |= CHANGED_KERNEL;
		add(names, sizeof(names), "; ", fact_name(i));
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
	survey_places();
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
		{ CHANGED_MOUNTS, "mounts:kept", "a mount is not what it was, or cannot be taken away" },
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
	if (!(changed & ~(CHANGED_TAINT | CHANGED_LOCKDEP | CHANGED_LOOPS)) || !names[0])
		return;
	snprintf(item, sizeof(item), "differs:%s", names);
	add(words, size, ",", item);
	snprintf(item, sizeof(item), ": %s", names);
	add(why, size, "", item);
}
