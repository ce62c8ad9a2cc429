// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmemleak, where the kernel has it: what a case leaked is told before the case's end.
 *
 * An object is reported by a scan that finds no pointer to it, if its content is what the scan before saw and
 * if it was older than five seconds when the scan began. So two scans, and the wait between them; both are
 * needed after every case, for no case's objects are old enough for a scan that another one needed. Reported
 * once, an object is not reported again: the leak is charged to one case.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#define DEBUGFS "/sys/kernel/debug"
#define KMEMLEAK DEBUGFS "/kmemleak"
#define MIN_AGE_MS 5100

static bool present;

/* 0, or an errno. */
static int put(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int error = 0;

	if (fd < 0 || write(fd, word, strlen(word)) < 0)
		error = errno;
	if (fd >= 0)
		close(fd);
	return error;
}

void leaks_begin(void)
{
	if (access(DEBUGFS, F_OK) < 0 || mount("debugfs", DEBUGFS, "debugfs", MS_NOSUID, NULL) < 0)
		return;
	present = access(KMEMLEAK, F_OK) == 0;
	if (!present) {
		umount(DEBUGFS);
		return;
	}
	/* No scans but ours; and with each object its backtrace, in the log. */
	put(KMEMLEAK, "scan=off");
	put("/sys/module/kmemleak/parameters/verbose", "Y");
}

bool leaks_wanted(void)
{
	return present;
}

int leaks_scan(void)
{
	const struct timespec age = { .tv_sec = MIN_AGE_MS / 1000, .tv_nsec = MIN_AGE_MS % 1000 * 1000000 };
	int error = put(KMEMLEAK, "scan");

	if (!error) {
		nanosleep(&age, NULL);
		error = put(KMEMLEAK, "scan");
	}
	return error;
}
