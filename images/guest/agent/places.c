// SPDX-License-Identifier: GPL-2.0-only
/*
 * The part of what outlives a case that stands in file systems: every file of the root, /dev, what can be set in
 * /proc and /sys and in the file systems beside them, and what the agent hands on to its children.
 *
 * What can be written to is looked at, and what nobody can write to is not, but for the reports below; so a new
 * kernel's new knobs are looked at as well. What changes by itself is left out, by name.
 */
#define _GNU_SOURCE
#include "survey.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static const char *const unread_in_proc[] = {
	"sys/vm/drop_caches",           /* a command: its last word stays */
	"sys/vm/stat_refresh",          /* likewise; to read it is to do it */
	"sys/kernel/ns_last_pid",
	"sys/kernel/tainted",           /* has a word of its own */
	"pressure",                     /* counts */
	NULL,
};
static const char *const unread_in_sys[] = {
	"uevent",                       /* a report; to write to it is to have it sent */
	"power/wakeup_count",           /* waits */
	"firmware/acpi/interrupts",     /* counts */
	"devices/virtual/bdi/*/min_bytes",     /* min_ratio_fine of what may be dirty now: since 6.2 */
	"devices/virtual/bdi/*/max_bytes",
	/* What a loop device takes from the file that it is attached to, each time. */
	"devices/virtual/block/loop*/queue/rotational",
	"devices/virtual/block/loop*/queue/discard_max_bytes",
	"devices/virtual/block/loop*/queue/write_cache",
	NULL,
};
static const char *const unlisted_in_sys[] = {
	"kernel/slab",                  /* some caches are made with their first use */
	NULL,
};
static const char *const unread_in_debugfs[] = {
	"kmemleak",                     /* see leaks.c */
	"tracing",                      /* a file system of its own */
	"gcov",                         /* counts; and so do the next two, of disks and file systems that come and go */
	"bdi",
	"block",
	NULL,
};
static const char *const unread_in_tracefs[] = {
	"events/*/*",                   /* thousands: events/enable says whether any is on, set_event which */
	"per_cpu",
	NULL,
};
static const char *const unread_in_securityfs[] = { "tomoyo", NULL };  /* counts, and sums up what ran */
static const char *const unread_in_cgroups[] = { "cgroup.procs", "cgroup.threads", NULL };

static const struct tree trees[] = {
	{ .path = "/", .bit = CHANGED_FILES, .numbers = true, .times = true, .owners = true, .content = MAPPED },
	{ .path = "/dev", .bit = CHANGED_DEVICES, .numbers = true, .owners = true },
	{ .path = "/proc", .bit = CHANGED_KERNEL, .opened = true, .unread = unread_in_proc },
	{ .path = "/sys", .bit = CHANGED_KERNEL, .numbers = true, .opened = true, .unread = unread_in_sys,
	  .unlisted = unlisted_in_sys },
};

/* File systems of which there is one, whoever mounts it. */
static const struct tree others[] = {
	{ .path = "debugfs", .bit = CHANGED_KERNEL, .unread = unread_in_debugfs },
	{ .path = "tracefs", .bit = CHANGED_KERNEL, .unread = unread_in_tracefs },
	{ .path = "configfs", .bit = CHANGED_KERNEL },
	{ .path = "securityfs", .bit = CHANGED_KERNEL, .unread = unread_in_securityfs },
	{ .path = "binfmt_misc", .bit = CHANGED_KERNEL },
	{ .path = "cgroup2", .bit = CHANGED_KERNEL, .unread = unread_in_cgroups },
	{ .path = "mqueue", .bit = CHANGED_KERNEL },
	{ .path = "fusectl", .bit = CHANGED_KERNEL },
	{ .path = "pstore", .bit = CHANGED_KERNEL },
	{ .path = "efivarfs", .bit = CHANGED_KERNEL },
	{ .path = "selinuxfs", .bit = CHANGED_KERNEL },
};

/* What is set by other ways than by writing to a file, where the kernel reports it. */
static const char *const reports[] = {
	"/proc/cgroups", "/proc/consoles", "/proc/devices", "/proc/filesystems", "/proc/iomem", "/proc/ioports",
	"/proc/key-users", "/proc/locks", "/proc/mdstat", "/proc/misc", "/proc/swaps", "/proc/sysvipc/msg",
	"/proc/sysvipc/sem", "/proc/sysvipc/shm", "/proc/tty/drivers", "/proc/tty/ldiscs", "/sys/kernel/kexec_loaded",
	/* The network, beside the interfaces, which are in /sys. */
	"/proc/self/net/route", "/proc/self/net/ipv6_route", "/proc/self/net/if_inet6", "/proc/self/net/arp",
	"/proc/self/net/dev_mcast", "/proc/self/net/packet", "/proc/self/net/raw", "/proc/self/net/udp",
	"/proc/self/net/tcp", "/proc/self/net/tcp6", "/proc/self/net/udp6", "/proc/self/net/unix",
	"/proc/self/net/ip_tables_names", "/proc/self/net/ip6_tables_names", "/proc/self/net/arp_tables_names",
	"/proc/self/net/ip_vs",
	/* What a case inherits from the agent. */
	"/proc/self/limits", "/proc/self/oom_score_adj", "/proc/self/coredump_filter", "/proc/self/timerslack_ns",
	"/proc/self/cgroup", "/proc/self/loginuid", "/proc/self/autogroup", "/proc/self/attr/current",
	"/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups",
};

/* Whether a module brings a file system. What is held of it would keep the module from being unloaded. */
static bool is_of_a_module(const char *type)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/%s/initstate", strcmp(type, "fusectl") ? type : "fuse");
	return access(path, F_OK) == 0;
}

/* Mounts a file system for the agent alone: no case finds it mounted. -1 where the kernel has none. */
static int open_other(const char *type)
{
	char known[4096], word[64];
	int fd;

	if (is_of_a_module(type))
		return -1;
	snprintf(word, sizeof(word), "\t%s\n", type);
	if (read_file("/proc/filesystems", known, sizeof(known)) < 0 || !strstr(known, word))
		return -1;
	if (mount(type, "/mnt", type, MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return -1;
	fd = open("/mnt", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	umount2("/mnt", MNT_DETACH);
	return fd;
}

void survey_places(void)
{
	DIR *block = own_list("/sys/block");
	struct dirent *entry;
	char path[300];

	for (size_t i = 0; i < sizeof(trees) / sizeof(trees[0]); i++) {
		int root = own_folder(trees[i].path);

		if (root < 0)
			root = open(trees[i].path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		survey_tree(&trees[i], root);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		int root = open_other(others[i].path);

		if (root >= 0)
			survey_tree(&others[i], root);
	}
	survey_file("/proc/modules", CHANGED_MODULES);
	survey_file("/proc/self/mountinfo", CHANGED_MOUNTS);
	for (size_t i = 0; i < sizeof(reports) / sizeof(reports[0]); i++)
		survey_file(reports[i], CHANGED_KERNEL);
	while (block && (entry = readdir(block))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/block/%s/ro", entry->d_name);
		survey_file(path, CHANGED_KERNEL);
	}
	if (block)
		closedir(block);
}
