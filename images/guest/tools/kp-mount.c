// SPDX-License-Identifier: GPL-2.0-only
/*
 * kp-mount TYPE SOURCE TARGET [OPTIONS]
 *
 * mount(2) and nothing else, for cases that look at what the kernel answers. Prints "mounted" and exits 0, or
 * prints the errno's name (ESTALE, EINVAL ...) and exits 1; 2 for wrong usage. mount(8) would print a
 * sentence, and may try more than one way.
 *
 * OPTIONS is passed on as it is, but for the words that are flags of the system call (ro, bind, ...).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

static const struct {
	const char *word;
	unsigned long set, clear;
} flags[] = {
	{ "ro", MS_RDONLY, 0 },
	{ "rw", 0, MS_RDONLY },
	{ "bind", MS_BIND, 0 },
	{ "remount", MS_REMOUNT, 0 },
	{ "noatime", MS_NOATIME, 0 },
	{ "nodev", MS_NODEV, 0 },
	{ "noexec", MS_NOEXEC, 0 },
	{ "nosuid", MS_NOSUID, 0 },
	{ "sync", MS_SYNCHRONOUS, 0 },
};

static int take_flag(const char *word, unsigned long *mountflags)
{
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (!strcmp(word, flags[i].word)) {
			*mountflags = (*mountflags | flags[i].set) & ~flags[i].clear;
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long mountflags = 0;
	char data[4096] = "", *save = NULL;
	const char *name;

	if (argc < 4 || argc > 5 || (argc == 5 && strlen(argv[4]) >= sizeof(data))) {
		fputs("usage: kp-mount TYPE SOURCE TARGET [OPTIONS]\n", stderr);
		return 2;
	}
	/* A comma inside a path is escaped (\,) for overlayfs; no flag word holds a backslash: it survives. */
	for (char *word = argc == 5 ? strtok_r(argv[4], ",", &save) : NULL; word;
	     word = strtok_r(NULL, ",", &save)) {
		if (take_flag(word, &mountflags))
			continue;
		if (data[0])
			strcat(data, ",");
		strcat(data, word);
	}
	if (mount(argv[2], argv[3], argv[1], mountflags, data) == 0) {
		puts("mounted");
		return 0;
	}
	name = strerrorname_np(errno);
	puts(name ? name : "unknown-errno");
	return 1;
}
