// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counters of what the modules under test execute, where the kernel has gcov: taken, sent and cleared after
 * every case, and once before the first (what loading the modules executes).
 *
 *   count   [case=N] file=PATH size=BYTES part=K data=BASE64    a part of a counter file
 *   counted [case=N] files=N opened=0|1 [lost=WHY]              the last one: all that there is, or what is missing
 *
 * Counters are files of debugfs (Documentation/dev-tools/gcov.rst). A case that is root can mount debugfs as well,
 * and clear them; what it cannot do is to write a number. inotify sees every open of such a file and of "reset", in
 * whatever mount, and then the case's counters are not believed. The agent's own way there is a descriptor of a
 * mount that stands nowhere.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <unistd.h>

#define DEBUGFS "/sys/kernel/debug"
#define PART 12288                      /* bytes in a record, before base64 */
#define FILE_LIMIT (8 * 1024 * 1024)    /* bytes of one counter file */
#define TAKE_LIMIT (4 * 1024 * 1024)    /* bytes that are sent of all of them, after one case */
#define DEPTH 32
#define SUFFIX ".gcda"

static bool wanted;
static int folder = -1, watch = -1;

struct take {
	const char *index;              /* of the case; NULL: there is none yet */
	size_t sent, files;
	const char *lost;               /* the first reason why something is missing */
};

void counters_open(int fd)
{
	wanted = true;
	folder = fd;
	watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
}

void counters_begin(const struct plan *plan)
{
	int fd;

	if (!plan->counters)
		return;
	if (mount("debugfs", DEBUGFS, "debugfs", MS_NOSUID, NULL) < 0 && errno != EBUSY) {
		counters_open(-1);
		return;
	}
	fd = open(DEBUGFS "/gcov", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Where kmemleak is, it stays for that; else cases find what they always find. */
	if (!leaks_wanted())
		umount2(DEBUGFS, MNT_DETACH);
	counters_open(fd);
}

/* ---- folders ---------------------------------------------------------------------------------------- */

/* Calls `each` for every folder and every counter file below, with its path. */
static void walk(int parent, const char *path, int depth, void *what,
		 void (*each)(int parent, const char *name, const char *path, bool is_folder, void *what))
{
	int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	char below[PATH_MAX];

	if (!list)
		return;
	while ((entry = readdir(list))) {
		size_t size = strlen(entry->d_name);
		bool is_folder = entry->d_type == DT_DIR;
		int child;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (!is_folder && (entry->d_type != DT_REG || size <= strlen(SUFFIX) ||
				   strcmp(entry->d_name + size - strlen(SUFFIX), SUFFIX)))
			continue;
		if (snprintf(below, sizeof(below), "%s%s%s", path, *path ? "/" : "", entry->d_name) >=
		    (int)sizeof(below))
			continue;
		each(dirfd(list), entry->d_name, below, is_folder, what);
		if (!is_folder || depth == DEPTH)
			continue;
		child = openat(dirfd(list), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child >= 0) {
			walk(child, below, depth + 1, what, each);
			close(child);
		}
	}
	closedir(list);
}

/* ---- who opens them --------------------------------------------------------------------------------- */

static void watch_folder(int fd, bool *failed)
{
	char path[64];

	/* Of a mount that stands nowhere a folder has no path but this one. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (inotify_add_watch(watch, path, IN_OPEN | IN_MODIFY) < 0)
		*failed = true;
}

static void watch_each(int parent, const char *name, const char *path, bool is_folder, void *what)
{
	int fd;

	(void)path;
	if (!is_folder)
		return;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		*(bool *)what = true;
		return;
	}
	watch_folder(fd, what);
	close(fd);
}

/* A watch that is there already stays as it is. False: what happens there is not seen. */
static bool watch_all(void)
{
	bool failed = watch < 0;

	if (failed)
		return false;
	watch_folder(folder, &failed);
	walk(folder, "", 0, &failed, watch_each);
	return !failed;
}

/* Whether a file was opened since the last call. */
static bool opened(void)
{
	static char events[64 * 1024] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool found = false;
	ssize_t size;

	while (watch >= 0 && (size = read(watch, events, sizeof(events))) > 0) {
		for (char *at = events; at < events + size;) {
			const struct inotify_event *event = (const struct inotify_event *)at;

			/* A folder that is read, or goes, changes no counter; a queue that ran over hides what did. */
			if (event->mask & IN_Q_OVERFLOW ||
			    (event->mask & (IN_OPEN | IN_MODIFY) && !(event->mask & IN_ISDIR)))
				found = true;
			at += sizeof(*event) + event->len;
		}
	}
	return found;
}

/* ---- sending ---------------------------------------------------------------------------------------- */

static void begin(const struct take *take, const char *type)
{
	rec_begin(type);
	if (take->index)
		rec_text("case", take->index);
}

static void rec_base64(const char *key, const unsigned char *data, size_t size)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static char text[PART / 3 * 4 + 8];
	size_t used = 0;

	for (size_t i = 0; i < size; i += 3) {
		size_t left = size - i;
		uint32_t bits = (uint32_t)data[i] << 16 | (left > 1 ? data[i + 1] << 8 : 0) |
				(left > 2 ? data[i + 2] : 0);

		/* Without the padding, which a value cannot have. */
		for (size_t k = 0; k < (left > 2 ? 4 : left + 1); k++)
			text[used++] = digits[bits >> (18 - 6 * k) & 63];
	}
	rec_bytes(key, text, used);
}

/* Most of a counter file is zeros: a zero byte stands for as many as the byte behind it says. Returns the size. */
static size_t squeeze(unsigned char *data, size_t size, unsigned char *to)
{
	size_t used = 0;

	for (size_t i = 0; i < size;) {
		size_t run = 0;

		if (data[i]) {
			to[used++] = data[i++];
			continue;
		}
		while (run < 255 && i + run < size && !data[i + run])
			run++;
		to[used++] = 0;
		to[used++] = run;
		i += run;
	}
	return used;
}

/* The content of a file and room for it squeezed, twice the size; NULL where it cannot be read. */
static unsigned char *content(int fd, size_t *size)
{
	size_t room = 64 * 1024;
	unsigned char *data = malloc(3 * room);
	ssize_t n = 0;

	*size = 0;
	while (data && (n = read(fd, data + *size, room - *size)) > 0) {
		*size += n;
		if (*size == room && room < FILE_LIMIT) {
			unsigned char *more = realloc(data, 3 * 2 * room);

			if (!more)
				break;
			data = more;
			room *= 2;
		}
	}
	if (data && (n != 0 || *size >= FILE_LIMIT)) {
		free(data);
		return NULL;
	}
	return data;
}

static void send_each(int parent, const char *name, const char *path, bool is_folder, void *what)
{
	struct take *take = what;
	unsigned char *data, *squeezed;
	size_t size, used;
	int fd;

	if (is_folder)
		return;
	fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	data = fd < 0 ? NULL : content(fd, &size);
	if (fd >= 0)
		close(fd);
	if (!data) {
		take->lost = take->lost ? take->lost : "a counter file cannot be read";
		return;
	}
	squeezed = data + size;
	used = squeeze(data, size, squeezed);
	if (take->sent + used > TAKE_LIMIT) {
		take->lost = take->lost ? take->lost : "there is more than is sent";
	} else {
		for (size_t at = 0, part = 0; at < used || !part; at += PART, part++) {
			begin(take, "count");
			rec_text("file", path);
			rec_number("size", size);
			rec_number("part", part);
			rec_base64("data", squeezed + at, used - at < PART ? used - at : PART);
			rec_end();
		}
		take->sent += used;
		take->files++;
	}
	free(data);
}

static bool clear_counters(void)
{
	int fd = openat(folder, "reset", O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, "0", 1) == 1;

	if (fd >= 0)
		close(fd);
	return done;
}

void counters_take(const char *index)
{
	/* Of the last clearing and the last watches: without them no case's counters are its own. */
	static bool cleared, watched;
	struct take take = { .index = index };
	bool touched;

	if (!wanted)
		return;
	touched = opened();
	if (folder < 0)
		take.lost = "the kernel has no gcov in debugfs";
	else if (index && !cleared)
		take.lost = "the counters could not be cleared";
	else if (index && !watched)
		take.lost = "nobody can see who opens the counters";
	if (folder >= 0) {
		walk(folder, "", 0, &take, send_each);
		cleared = clear_counters();
		/* A case may have brought a module that was not loaded before. */
		watched = watch_all();
	}
	begin(&take, "counted");
	rec_number("files", take.files);
	rec_number("opened", touched);
	if (take.lost)
		rec_text("lost", take.lost);
	rec_end();
	/* What this has opened itself. */
	opened();
}
