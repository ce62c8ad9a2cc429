// SPDX-License-Identifier: GPL-2.0-only
/*
 * What stands in the guest's file systems, compared with what stood there at first.
 *
 * Folders and files are opened once, at the start: no later mount stands in front of them, and a look after each
 * case costs a fraction of a walk. An item has two hashes: of what it says, and of what it is (inode numbers,
 * addresses of modules). Only the second differs where a module was taken out and put in again.
 */
#define _GNU_SOURCE
#include "item.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALL 64                        /* what a knob says, in file systems where other things stand beside them */
#define NAMED 3                         /* differences that are named */

static struct item *items;
static size_t item_count;

static void *need(void *memory)
{
	if (!memory)
		fatal("out of memory", "while the guest was surveyed");
	return memory;
}

static struct item *add_item(const struct tree *tree, int root, const char *path, int fd)
{
	struct item *item;

	items = need(reallocarray(items, item_count + 1, sizeof(*items)));
	item = &items[item_count++];
	*item = (struct item){ .tree = tree, .root = root, .fd = fd, .bit = tree ? tree->bit : 0 };
	item->path = need(strdup(path));
	return item;
}

/* A pattern without a slash is one for names at any depth. */
static bool listed_in(const char *const *patterns, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	for (; patterns && *patterns; patterns++)
		if (!fnmatch(*patterns, strchr(*patterns, '/') ? path : name, FNM_PATHNAME))
			return true;
	return false;
}

/* ---- the first look --------------------------------------------------------------------------------- */

struct listing {
	struct entry *entries;
	unsigned char *types;
	size_t count;
	const struct tree *tree;
	dev_t device;
	int fd;
};

static void list_entry(void *data, const struct dirent64 *found)
{
	struct listing *to = data;

	if (!is_entry(to->tree, found))
		return;
	to->entries = need(reallocarray(to->entries, to->count + 1, sizeof(*to->entries)));
	to->types = need(realloc(to->types, to->count + 1));
	to->entries[to->count] = read_entry(to->tree, to->device, to->fd, found);
	to->entries[to->count].name = need(strdup(found->d_name));
	to->types[to->count++] = found->d_type;
}

static void map_file(struct item *item, int fd, const struct stat *st)
{
	void *map = mmap(NULL, st->st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);

	if (map == MAP_FAILED)
		fatal(item->path, strerror(errno));
	item->map = map;
	item->size = st->st_size;
}

static void survey_one_file(const struct tree *tree, int root, const char *path)
{
	struct item *item;
	struct stat st;
	struct found found;
	int fd;

	if (fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return;
	if (tree->content == KNOBS &&
	    ((st.st_mode & 0222) == 0 || (st.st_mode & 0444) == 0 || st.st_size > KNOB_SIZE))
		return;
	if (tree->content == MAPPED && !st.st_size)
		return;
	fd = openat(root, path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	if (tree->content == KNOBS && !tree->opened) {
		char text[SMALL + 1];
		ssize_t size = pread(fd, text, sizeof(text), 0);

		if (size < 0 || size > SMALL) {
			close(fd);
			return;
		}
	}
	item = add_item(tree, root, path, fd);
	if (tree->content == MAPPED)
		map_file(item, fd, &st);
	found = look_at(item);
	item->says = found.says;
	item->is = found.is;
	if (tree->content == MAPPED || !tree->opened) {
		close(fd);
		item->fd = -1;
	}
}

static void survey_folder(const struct tree *tree, int root, const char *path)
{
	struct listing listing = { .tree = tree };
	struct item *item;
	struct stat top, st;
	char below[PATH_MAX];
	int fd = openat(root, path[0] ? path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return;
	/* What is mounted below is another tree's. */
	if (fstat(root, &top) < 0 || fstat(fd, &st) < 0 || top.st_dev != st.st_dev) {
		close(fd);
		return;
	}
	item = add_item(tree, root, path, fd);
	item->folder = true;
	item->unlisted = listed_in(tree->unlisted, path);
	listing.fd = fd;
	item->device = listing.device = st.st_dev;
	list_folder(fd, list_entry, &listing);
	item->entries = listing.entries;
	item->count = listing.count;
	for (size_t i = 0; !item->unlisted && i < listing.count; i++) {
		item->says += listing.entries[i].says;
		item->is += listing.entries[i].is;
	}
	for (size_t i = 0; i < listing.count; i++) {
		snprintf(below, sizeof(below), "%s%s%s", path, path[0] ? "/" : "", listing.entries[i].name);
		if (listed_in(tree->unread, below))
			continue;
		if (listing.types[i] == DT_DIR)
			survey_folder(tree, root, below);
		else if (listing.types[i] == DT_REG)
			survey_one_file(tree, root, below);
	}
	free(listing.types);
}

void survey_tree(const struct tree *tree, int root)
{
	survey_folder(tree, root, "");
}

void survey_file(const char *path, unsigned int bit)
{
	int fd = own_open(path, O_RDONLY | O_CLOEXEC);
	struct item *item;
	struct found found;

	if (fd < 0)
		return;
	item = add_item(NULL, -1, path, fd);
	item->bit = bit;
	found = look_at(item);
	item->says = found.says;
	item->is = found.is;
}

/* ---- later looks ------------------------------------------------------------------------------------ */

static unsigned int bit_of(const struct item *item)
{
	if (item->tree && !strcmp(item->tree->path, "/sys") && !strncmp(item->path, "module", strlen("module")))
		return CHANGED_MODULES;
	return item->bit;
}

struct comparing {
	const struct item *item;
	int fd;
	bool *seen;
	char other[256];                /* an entry that is new, or not what it was */
};

static void compare_entry(void *data, const struct dirent64 *found)
{
	struct comparing *to = data;
	struct entry entry;

	if (!is_entry(to->item->tree, found))
		return;
	entry = read_entry(to->item->tree, to->item->device, to->fd, found);
	for (size_t i = 0; i < to->item->count; i++) {
		const struct entry *was = &to->item->entries[i];

		if (strcmp(was->name, found->d_name))
			continue;
		to->seen[i] = true;
		if (was->says == entry.says && was->is == entry.is)
			return;
		break;
	}
	if (!to->other[0])
		snprintf(to->other, sizeof(to->other), "%s", found->d_name);
}

/* The name of an entry that makes a folder differ; "" for none that can be found. */
static void name_entry(const struct item *item, char name[256])
{
	struct comparing to = { .item = item, .fd = open_item(item) };

	name[0] = '\0';
	if (to.fd < 0)
		return;
	to.seen = need(calloc(item->count + 1, sizeof(*to.seen)));
	if (list_folder(to.fd, compare_entry, &to)) {
		for (size_t i = 0; !to.other[0] && i < item->count; i++)
			if (!to.seen[i])
				snprintf(to.other, sizeof(to.other), "%s", item->entries[i].name);
		snprintf(name, 256, "%s", to.other);
	}
	free(to.seen);
	close(to.fd);
}

static void name_item(const struct item *item, char *names, size_t size)
{
	const char *top = item->tree ? item->tree->path : "";
	char entry[256] = "";
	size_t used = strlen(names);

	if (item->folder)
		name_entry(item, entry);
	if (!strcmp(top, "/"))
		top = "";
	snprintf(names + used, size - used, "%s%s%s%s%s%s", used ? "; " : "", top,
		 item->path[0] && item->path[0] != '/' ? "/" : "", item->path, entry[0] ? "/" : "", entry);
}

unsigned int survey_look(char *names, size_t size)
{
	unsigned int changed = 0, named = 0;

	names[0] = '\0';
	for (size_t i = 0; i < item_count; i++) {
		const struct item *item = &items[i];
		struct found found;

		/* A file that was cut short cannot be read through its mapping: its folder has said so before. */
		if (item->map && changed & CHANGED_FILES)
			continue;
		found = look_at(item);
		if (found.says == item->says && found.is == item->is)
			continue;
		changed |= bit_of(item);
		if (named++ < NAMED)
			name_item(item, names, size);
	}
	if (named > NAMED)
		snprintf(names + strlen(names), size - strlen(names), " and %u more", named - NAMED);
	return changed;
}

static void renumber_entry(void *data, const struct dirent64 *found)
{
	struct item *item = data;

	for (size_t i = 0; i < item->count; i++)
		if (!strcmp(item->entries[i].name, found->d_name))
			item->entries[i].is = read_entry(item->tree, item->device, item->fd, found).is;
}

void survey_accept(void)
{
	for (size_t i = 0; i < item_count; i++) {
		struct item *item = &items[i];
		struct found found;
		int fd;

		if (item->map)
			continue;
		found = look_at(item);
		if (found.says == item->says && found.is == item->is)
			continue;
		/* What was open may be what is gone. */
		if (item->fd >= 0 && item->tree) {
			fd = open_item(item);
			if (fd < 0)
				continue;
			close(item->fd);
			item->fd = fd;
			found = look_at(item);
		}
		/* Of the root file system nothing comes with a module. */
		if (found.says != item->says || item->bit & CHANGED_FILES)
			continue;
		item->is = found.is;
		if (item->folder)
			list_folder(item->fd, renumber_entry, item);
	}
}
