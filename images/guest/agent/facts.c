// SPDX-License-Identifier: GPL-2.0-only
/* The part of what outlives a case that is in no file: each is one number, which is the same or not. */
#define _GNU_SOURCE
#include "survey.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/serial.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <termios.h>
#include <unistd.h>

static uint64_t agent_scheduling(void)
{
	struct sched_param param = { 0 };
	cpu_set_t cpus;
	uint64_t hash;

	CPU_ZERO(&cpus);
	sched_getparam(1, &param);
	sched_getaffinity(1, sizeof(cpus), &cpus);
	hash = hash_number(getpriority(PRIO_PROCESS, 1), sched_getscheduler(1));
	hash = hash_number(hash, syscall(SYS_ioprio_get, 1, 1));
	hash = hash_bytes(hash, &param, sizeof(param));
	return hash_bytes(hash, &cpus, sizeof(cpus));
}

static uint64_t clock_rate(void)
{
	struct timex now = { 0 };
	struct timezone zone = { 0 };
	struct timeval time;

	adjtimex(&now);
	gettimeofday(&time, &zone);
	const int64_t set[] = { now.freq, now.tick, now.tai, now.offset, zone.tz_minuteswest, zone.tz_dsttime };
	return hash_bytes(1, set, sizeof(set));
}

static uint64_t port_settings(uint64_t hash, int fd)
{
	struct serial_struct serial;
	struct termios tio;

	memset(&tio, 0, sizeof(tio));
	memset(&serial, 0, sizeof(serial));
	tcgetattr(fd, &tio);
	ioctl(fd, TIOCGSERIAL, &serial);
	return hash_bytes(hash_bytes(hash, &tio, sizeof(tio)), &serial, sizeof(serial));
}

/* The console, which the kernel opened for the agent, and the channel. */
static uint64_t serial_ports(void)
{
	return port_settings(port_settings(1, STDOUT_FILENO), channel_fd());
}

/* The number of the message at a place in the kernel's ring; 0 where there is none. */
static unsigned long long message_at(int kmsg, int whence)
{
	static char message[16 * 1024];
	unsigned long long number = 0;
	ssize_t size = -1;

	if (lseek(kmsg, 0, whence) < 0)
		return 0;
	/* The oldest may be overwritten meanwhile. */
	for (int i = 0; i < 16 && (size = read(kmsg, message, sizeof(message) - 1)) < 0 && errno == EPIPE; i++)
		;
	message[size > 0 ? size : 0] = '\0';
	return sscanf(message, "%*u,%llu", &number) == 1 ? number + 1 : 0;
}

/* `dmesg -c` leaves dmesg, of every later case, without the messages before it: they begin behind the oldest. */
static uint64_t cleared_messages(void)
{
	static int kmsg = -1;
	unsigned long long oldest, shown;

	if (kmsg < 0)
		kmsg = own_open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg < 0)
		return 0;
	oldest = message_at(kmsg, SEEK_SET);
	shown = message_at(kmsg, SEEK_DATA);
	return shown == oldest ? 0 : shown + 1;
}

/* Programs, maps and links that hang on the kernel rather than on a process. */
static uint64_t bpf_objects(void)
{
	static const int commands[] = { BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID, BPF_LINK_GET_NEXT_ID };
	uint64_t hash = 0;

	for (int i = 0; i < 3; i++) {
		union bpf_attr attr = { 0 };

		while (syscall(SYS_bpf, commands[i], &attr, sizeof(attr)) == 0) {
			hash = hash_number(hash + i, attr.next_id);
			attr = (union bpf_attr){ .start_id = attr.next_id };
		}
	}
	return hash;
}

/* Kernel threads by name: a hash of each that there was at the first look, and the names of others since. */
#define MOST_THREADS 512
static uint64_t first_threads[MOST_THREADS], threads;
static size_t first_count;
static bool looked;
static char more_threads[64];

static void see_thread(const char *name, size_t length)
{
	uint64_t hash = hash_bytes(1, name, length);
	size_t used = strlen(more_threads);

	threads += hash;
	if (!looked) {
		if (first_count < MOST_THREADS)
			first_threads[first_count++] = hash;
		return;
	}
	for (size_t i = 0; i < first_count; i++)
		if (first_threads[i] == hash)
			return;
	snprintf(more_threads + used, sizeof(more_threads) - used, " %.*s", (int)length, name);
}

/* And what the kernel has started, which is none of the agent's children. */
static uint64_t processes(void)
{
	int others;

	threads = 0;
	more_threads[0] = '\0';
	others = count_processes(see_thread) - (getpid() != 1);
	looked = true;
	return hash_number(threads, others);
}

/*
 * A disk in memory keeps what is written to it, and is too large to be read: where there is one, all differs. The
 * disk of the tools can only be read.
 */
static uint64_t lasting_disks(void)
{
	static uint64_t looks;
	DIR *block = own_list("/sys/block");
	struct dirent *entry;
	char path[300], size[32];
	bool found = false;

	while (block && (entry = readdir(block))) {
		if (entry->d_name[0] == '.' || !strncmp(entry->d_name, "loop", 4) || disk_is(entry->d_name))
			continue;
		snprintf(path, sizeof(path), "/sys/block/%s/size", entry->d_name);
		if (read_file(path, size, sizeof(size)) > 0 && strtoull(size, NULL, 10))
			found = true;
	}
	if (block)
		closedir(block);
	return found ? ++looks : 0;
}

static const struct {
	const char *name;
	uint64_t (*read)(void);
} facts[] = {
	{ "the agent's priority", agent_scheduling },
	{ "the clock's rate", clock_rate },
	{ "a serial port's settings", serial_ports },
	{ "the kernel log, which was cleared", cleared_messages },
	{ "BPF", bpf_objects },
	{ "processes", processes },
	{ "a disk", lasting_disks },
	{ "the disk of the tools", disk_state },
};
#define FACTS (sizeof(facts) / sizeof(facts[0]))

size_t fact_count(void)
{
	return FACTS;
}

const char *fact_name(size_t number)
{
	static char words[128];

	if (facts[number].read != processes || !more_threads[0])
		return facts[number].name;
	snprintf(words, sizeof(words), "%s (of the kernel:%s)", facts[number].name, more_threads);
	return words;
}

uint64_t fact_now(size_t number)
{
	return facts[number].read();
}
