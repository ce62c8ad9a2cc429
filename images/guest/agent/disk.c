// SPDX-License-Identifier: GPL-2.0-only
/*
 * The disk with the tools that are too large to be held in memory: found by its serial number, whatever name the
 * kernel gave it, and mounted read-only for all cases.
 *
 * A case cannot write to it (QEMU does not), and what it does to the mount is seen in mountinfo; here is what else
 * would be found by the next one.
 */
#define _GNU_SOURCE
#include "survey.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARKER ".kmodpipe"              /* a file that can be read as long as the file system works */

static char device[256];                /* "vdb"; "" without such a disk */
static int marker = -1;

/* The name of the block device with a serial number; false where there is none. */
static bool find(const char *serial)
{
	DIR *block = own_list("/sys/block");
	struct dirent *entry;
	char path[300], said[64];
	bool found = false;

	while (block && !found && (entry = readdir(block))) {
		snprintf(path, sizeof(path), "/sys/block/%s/serial", entry->d_name);
		if (entry->d_name[0] == '.' || read_file(path, said, sizeof(said)) <= 0)
			continue;
		said[strcspn(said, "\n")] = '\0';
		found = !strcmp(said, serial);
		if (found)
			snprintf(device, sizeof(device), "%s", entry->d_name);
	}
	if (block)
		closedir(block);
	return found;
}

/* 0, or an errno. */
static int mount_it(const struct disk *disk)
{
	char path[300];

	if (!find(disk->serial))
		return ENODEV;
	snprintf(path, sizeof(path), "/dev/%s", device);
	if (mount(path, disk->folder, disk->type, MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
		return errno;
	snprintf(path, sizeof(path), "%s/%s", disk->folder, MARKER);
	marker = open(path, O_RDONLY | O_CLOEXEC);
	return marker < 0 ? errno : 0;
}

bool disk_mount(const struct disk *disk)
{
	int error = disk->serial ? mount_it(disk) : 0;

	if (!error)
		return true;
	rec_begin("refused");
	rec_text("what", "disk");
	rec_text("name", device);
	rec_text("errno", error_name(error));
	rec_end();
	return false;
}

bool disk_is(const char *name)
{
	return device[0] && !strcmp(device, name);
}

uint64_t disk_state(void)
{
	unsigned long long writes = 0;
	char path[300], text[512] = "";
	ssize_t size;
	uint64_t hash;

	if (marker < 0)
		return 0;
	/* Nothing, once the file system was shut down. */
	size = pread(marker, text, sizeof(text), 0);
	hash = hash_bytes(1, text, size > 0 ? size : 0);
	/* Through the device's node, as root can after BLKROSET: they fail, and stay in the kernel's cache. */
	snprintf(path, sizeof(path), "/sys/block/%s/stat", device);
	if (read_file(path, text, sizeof(text)) > 0)
		sscanf(text, "%*u %*u %*u %*u %llu", &writes);
	return hash_number(hash, writes);
}
