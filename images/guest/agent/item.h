/* SPDX-License-Identifier: GPL-2.0-only */
/* One folder or file that is looked at, shared by item.c and survey.c. */
#ifndef KMODPIPE_ITEM_H
#define KMODPIPE_ITEM_H

#include "survey.h"

#include <sys/types.h>

#define KNOB_SIZE 4096                  /* a text attribute of sysfs has this size; pages of a device differ */

struct entry {
	uint64_t says, is;
	char *name;
};

struct item {
	const struct tree *tree;        /* NULL: a file of its own */
	unsigned int bit;
	int root;                       /* the tree's folder */
	char *path;                     /* below root; of a file of its own, from / on */
	int fd;                         /* -1: opened for each look */
	bool folder, unlisted;
	dev_t device;                   /* of a folder */
	const void *map;
	size_t size;                    /* of the mapping */
	uint64_t says, is;
	struct entry *entries;          /* of a folder, as it was at first */
	size_t count;
};

struct found {
	uint64_t says, is;
};

typedef void each_entry(void *data, const struct dirent64 *found);

/* Calls `each` for the entries of an open folder. False where it cannot be read. */
bool list_folder(int fd, each_entry *each, void *data);
/* Whether an entry is the guest's own: those of a process are not. */
bool is_entry(const struct tree *tree, const struct dirent64 *found);
/* Of the folder that is open as `fd`; without its name. */
struct entry read_entry(const struct tree *tree, dev_t device, int fd, const struct dirent64 *found);
int open_item(const struct item *item);
struct found look_at(const struct item *item);

#endif
