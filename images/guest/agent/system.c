// SPDX-License-Identifier: GPL-2.0-only
/* Small looks into /proc and /sys, randomness, loop devices, and the end of the guest. */
#define _GNU_SOURCE
#include "agent.h"
#include "survey.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#define PF_KTHREAD 0x00200000           /* include/linux/sched.h; field "flags" of /proc/PID/stat */

int64_t uptime_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int own_folders[3];
static const char *const own_paths[] = { "/proc", "/sys", "/dev" };

void own_begin(void)
{
	for (int i = 0; i < 3; i++) {
		own_folders[i] = open(own_paths[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (own_folders[i] < 0)
			fatal(own_paths[i], strerror(errno));
	}
}

int own_folder(const char *path)
{
	for (int i = 0; i < 3; i++)
		if (!strcmp(path, own_paths[i]))
			return own_folders[i];
	return -1;
}

int own_open(const char *path, int flags)
{
	for (int i = 0; i < 3; i++) {
		size_t size = strlen(own_paths[i]);

		if (!strncmp(path, own_paths[i], size) && path[size] == '/')
			return openat(own_folders[i], path + size + 1, flags);
	}
	return open(path, flags);
}

long read_file(const char *path, char *buffer, size_t size)
{
	int fd = own_open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n = 0;

	buffer[0] = '\0';
	if (fd < 0)
		return -1;
	while (have < size - 1 && (n = read(fd, buffer + have, size - 1 - have)) > 0)
		have += n;
	close(fd);
	buffer[have] = '\0';
	return n < 0 ? -1 : (long)have;
}

void read_build_id(const char *path, char *hex, size_t size)
{
	char notes[4096] __attribute__((aligned(8)));
	long have = read_file(path, notes, sizeof(notes));
	size_t at = 0;

	hex[0] = '\0';
	while (have > 0 && at + sizeof(Elf64_Nhdr) <= (size_t)have) {
		Elf64_Nhdr header;
		size_t name, description, next;

		memcpy(&header, notes + at, sizeof(header));
		name = at + sizeof(header);
		description = name + ((header.n_namesz + 3UL) & ~3UL);
		next = description + ((header.n_descsz + 3UL) & ~3UL);
		if (next > (size_t)have)
			return;
		if (header.n_type == NT_GNU_BUILD_ID && header.n_namesz == 4 &&
		    !memcmp(notes + name, "GNU", 4) && header.n_descsz * 2UL < size) {
			for (size_t i = 0; i < header.n_descsz; i++)
				sprintf(hex + 2 * i, "%02x", (unsigned char)notes[description + i]);
			return;
		}
		at = next;
	}
}

void module_params(const char *name, char *text, size_t size)
{
	char folder[256], path[PATH_MAX], value[512];
	struct dirent **entries;
	size_t used = 0;
	int count;

	text[0] = '\0';
	snprintf(folder, sizeof(folder), "/sys/module/%s/parameters", name);
	count = scandir(folder, &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.' && read_file(path, value, sizeof(value)) >= 0) {
			value[strcspn(value, "\n")] = '\0';
			if (used < size)
				used += snprintf(text + used, size - used, "%s%s=%s", used ? "," : "",
						 entries[i]->d_name, value);
		}
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

DIR *own_list(const char *path)
{
	char below[64];
	int fd;

	snprintf(below, sizeof(below), "%s/.", path);
	fd = own_open(below, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? NULL : fdopendir(fd);
}

/*
 * A kernel thread that comes and goes in the kernel's own time says nothing of a case: a worker, which has no name of
 * its own; and the one that an ext4 which is built in starts at a mount (6.1 at any, 5.10 if there are inodes to be
 * written), to sleep up to five seconds and end, mounted still or not (ext4_lazyinit_thread in fs/ext4/super.c).
 */
static bool comes_and_goes(const char *name, size_t length)
{
	static const char worker[] = "kworker/", lazy[] = "ext4lazyinit";
	int ext4;

	if (length >= sizeof(worker) - 1 && !memcmp(name, worker, sizeof(worker) - 1))
		return true;
	if (length != sizeof(lazy) - 1 || memcmp(name, lazy, length))
		return false;
	ext4 = own_open("/sys/module/ext4/initstate", O_RDONLY | O_CLOEXEC);
	if (ext4 >= 0)
		close(ext4);
	return ext4 < 0;
}

int count_processes(void (*thread)(const char *name, size_t length))
{
	DIR *proc = own_list("/proc");
	struct dirent *entry;
	int count = 0;

	if (!proc)
		return 0;
	while ((entry = readdir(proc))) {
		char path[300], stat[512], *name, *after;
		char state;
		unsigned int flags;

		if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name) || atoi(entry->d_name) == 1)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		/* The name in parentheses may hold anything: start behind the last one. */
		if (read_file(path, stat, sizeof(stat)) <= 0 || !(name = strchr(stat, '(')) ||
		    !(after = strrchr(name, ')')) ||
		    sscanf(after + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
			continue;
		if (flags & PF_KTHREAD) {
			name++;
			if (thread && !comes_and_goes(name, after - name))
				thread(name, after - name);
		} else if (state != 'Z' && state != 'X')
			count++;
	}
	closedir(proc);
	return count;
}

int count_mounts(char points[][256], int room)
{
	int fd = own_open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	FILE *table = fd < 0 ? NULL : fdopen(fd, "r");
	char line[8192];
	int count = 0;

	while (table && fgets(line, sizeof(line), table)) {
		if (points && count < room)
			if (sscanf(line, "%*s %*s %*s %*s %255s", points[count]) != 1)
				points[count][0] = '\0';
		count++;
	}
	if (table)
		fclose(table);
	return count;
}

int count_loops(bool detach)
{
	DIR *block = own_list("/sys/block");
	struct dirent *entry;
	int count = 0;

	if (!block)
		return 0;
	while ((entry = readdir(block))) {
		char path[300];
		int fd;

		if (strncmp(entry->d_name, "loop", 4))
			continue;
		snprintf(path, sizeof(path), "/sys/block/%s/loop/backing_file", entry->d_name);
		fd = own_open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		close(fd);
		count++;
		if (!detach)
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		fd = own_open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		/* A device that is still in use goes with its last user. */
		ioctl(fd, LOOP_CLR_FD, 0);
		close(fd);
	}
	closedir(block);
	return count;
}

void seed_randomness(void)
{
	struct {
		struct rand_pool_info info;
		struct timespec seed[16];
	} pool = { .info = { .entropy_count = 512, .buf_size = sizeof(pool.seed) } };
	char byte;
	int fd;

	if (getrandom(&byte, 1, GRND_NONBLOCK) == 1)
		return;
	/*
	 * A processor without RDRAND. UUIDs that differ from each other are all that a throw-away guest needs,
	 * and waiting for better costs a second for each of them.
	 */
	for (size_t i = 0; i < sizeof(pool.seed) / sizeof(pool.seed[0]); i++)
		clock_gettime(i % 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME, &pool.seed[i]);
	fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) < 0)
		fprintf(stderr, "kmodpipe-agent: no randomness: %s\n", strerror(errno));
	if (fd >= 0)
		close(fd);
}

void set_environment(const char *case_id, const char *module_path, const char *terminal)
{
	char files[PATH_MAX];

	snprintf(files, sizeof(files), "%s/%s", CASES_DIR, case_id);

	const char *const own[][2] = {
		{ "HOME", "/root" },
		{ "PATH", SEARCH_PATH },
		{ "LC_ALL", "C" },
		{ "TERM", terminal },
		{ "SHELL", "/bin/sh" },
		{ "KMODPIPE_LIB", LIB_PATH },
		{ "KMODPIPE_CASE", case_id },
		{ "KMODPIPE_FILES", files },
		{ "KMODPIPE_MODULE", module_path ? module_path : "" },
	};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (setenv(own[i][0], own[i][1], true) < 0)
			fatal("cannot make a case's environment", strerror(errno));
}

_Noreturn void restart(void)
{
	/*
	 * Never RB_POWER_OFF: without ACPI the kernel turns it into a halt, and QEMU would stay.
	 */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

_Noreturn void fatal(const char *what, const char *detail)
{
	fprintf(stderr, "kmodpipe-agent: %s: %s\n", what, detail);
	restart();
}
