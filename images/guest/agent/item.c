// SPDX-License-Identifier: GPL-2.0-only
/* One look at one folder or file. */
#define _GNU_SOURCE
#include "item.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_LIMIT (1024 * 1024)

static uint64_t hash_stat(uint64_t hash, const struct tree *tree, const struct stat *st)
{
	const uint64_t what[] = { st->st_mode, st->st_uid, st->st_gid, st->st_rdev };
	const uint64_t when[] = { st->st_size, st->st_ctim.tv_sec, st->st_ctim.tv_nsec };

	hash = hash_bytes(hash, what, sizeof(what));
	return tree->times ? hash_bytes(hash, when, sizeof(when)) : hash;
}

bool is_entry(const struct tree *tree, const struct dirent64 *found)
{
	const char *name = found->d_name;

	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	return strcmp(tree->path, "/proc") || strspn(name, "0123456789") != strlen(name);
}

struct entry read_entry(const struct tree *tree, dev_t device, int fd, const struct dirent64 *found)
{
	struct entry entry = { .says = hash_bytes(found->d_type, found->d_name, strlen(found->d_name)) };
	struct stat st;

	/* What is mounted here is another tree's. */
	if (tree->owners && fstatat(fd, found->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == device)
		entry.says = hash_stat(entry.says, tree, &st);
	if (tree->numbers)
		entry.is = hash_number(entry.says, found->d_ino);
	return entry;
}

bool list_folder(int fd, each_entry *each, void *data)
{
	static char buffer[32 * 1024] __attribute__((aligned(8)));
	long size;

	lseek(fd, 0, SEEK_SET);
	while ((size = syscall(SYS_getdents64, fd, buffer, sizeof(buffer))) > 0) {
		for (long at = 0; at < size;) {
			const struct dirent64 *found = (const void *)(buffer + at);

			each(data, found);
			at += found->d_reclen;
		}
	}
	return size == 0;
}

struct summing {
	const struct item *item;
	int fd;
	struct found sum;
};

static void sum_entry(void *data, const struct dirent64 *found)
{
	struct summing *to = data;
	struct entry entry;

	if (!is_entry(to->item->tree, found))
		return;
	entry = read_entry(to->item->tree, to->item->device, to->fd, found);
	/* A sum: the order in which a folder is read is not what it says. */
	to->sum.says += entry.says;
	to->sum.is += entry.is;
}

static struct found look_at_folder(const struct item *item, int fd)
{
	struct summing to = { .item = item, .fd = fd };

	if (!list_folder(fd, sum_entry, &to))
		return (struct found){ 0 };
	return to.sum;
}

/* Size, use, users and state of each module are what the list says; the address is what the module is. */
static struct found hash_modules(char *text)
{
	struct found found = { 1, 1 };
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *address = strstr(line, " 0x");
		size_t size = address ? (size_t)(address - line) : strlen(line);

		found.says += hash_bytes(2, line, size);
		found.is += hash_bytes(3, line, strlen(line));
	}
	return found;
}

static struct found look_at_file(const struct item *item, int fd)
{
	static char data[FILE_LIMIT + KNOB_SIZE];
	struct found found = { 0 };
	struct stat st;
	size_t size = 0;
	ssize_t n = 0;

	if (item->map)
		return (struct found){ hash_bytes(1, item->map, item->size), 0 };
	/*
	 * To the end, or to the first error, which is part of what it says. A knob says all at once; and not more than
	 * that is asked for, as a sysctl makes, and clears, a buffer of the size that it is read with.
	 */
	while (size < FILE_LIMIT && (n = pread(fd, data + size, KNOB_SIZE - 1, size)) > 0) {
		size += n;
		if (item->tree)
			break;
	}
	data[size] = '\0';
	if (!strcmp(item->path, "/proc/modules"))
		return hash_modules(data);
	found.says = hash_bytes(n < 0 ? errno : 0, data, size);
	if (item->tree && fstat(fd, &st) == 0)
		found.says = hash_stat(found.says, item->tree, &st);
	return found;
}

int open_item(const struct item *item)
{
	int flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | (item->folder ? O_DIRECTORY : 0);

	return item->tree ? openat(item->root, item->path[0] ? item->path : ".", flags) : own_open(item->path, flags);
}

struct found look_at(const struct item *item)
{
	struct found found = { .says = 1 };
	int fd = item->fd;

	if (item->unlisted)
		return (struct found){ 0 };
	if (fd < 0 && !item->map)
		fd = open_item(item);
	if (fd >= 0 || item->map)
		found = item->folder ? look_at_folder(item, fd) : look_at_file(item, fd);
	if (fd >= 0 && fd != item->fd)
		close(fd);
	return found;
}
