// SPDX-License-Identifier: GPL-2.0-only
/* What comes out of a case: output, observations, and the kernel's messages meanwhile; all bounded. */
#define _GNU_SOURCE
#include "runcase.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void begin_record(const struct running *r, const char *type)
{
	rec_begin(type);
	rec_text("case", r->planned->index);
}

static void send_output(struct running *r, const char *data, size_t size)
{
	size_t room = STREAM_LIMIT - r->out_sent;
	size_t kept = size < room ? size : room;

	r->out_sent += kept;
	r->out_dropped += size - kept;
	while (kept > 0) {
		size_t part = kept < CHUNK ? kept : CHUNK;

		begin_record(r, "out");
		rec_bytes("data", data, part);
		rec_end();
		data += part;
		kept -= part;
	}
}

static void complain(struct running *r, const char *what)
{
	char text[160];
	int size = snprintf(text, sizeof(text), "kmodpipe: %s\n", what);

	send_output(r, text, size);
}

/* What a case observed and the host does not hear counts: it may say the opposite of the rest. */
static void drop_observation(struct running *r, const char *why)
{
	if (why)
		complain(r, why);
	r->obs_dropped++;
}

static void take_observation(struct running *r)
{
	char *tab = memchr(r->line, '\t', r->line_size);

	if (!tab || tab == r->line) {
		drop_observation(r, "a line on fd 3 is no observation (key, tab, value)");
		return;
	}
	if (++r->observations > OBSERVATION_LIMIT) {
		drop_observation(r, r->observations == OBSERVATION_LIMIT + 1 ?
				 "too many observations; the rest is dropped" : NULL);
		return;
	}
	begin_record(r, "obs");
	rec_bytes("key", r->line, tab - r->line);
	rec_bytes("value", tab + 1, r->line + r->line_size - tab - 1);
	rec_end();
}

static void feed_observations(struct running *r, const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (data[i] == '\n') {
			if (r->line_size && !r->line_skip)
				take_observation(r);
			r->line_size = 0;
			r->line_skip = false;
		} else if (r->line_skip) {
			continue;
		} else if (r->line_size < sizeof(r->line)) {
			r->line[r->line_size++] = data[i];
		} else {
			drop_observation(r, "an observation is too long, and is dropped");
			r->line_skip = true;
		}
	}
}

bool drain_pipe(struct running *r, int *fd)
{
	static char data[32 * 1024];    /* much at once: a gigabyte is to be dropped within a case's time */
	ssize_t n;

	/* A few rounds only: a case that writes without pause must not hide its deadline. */
	for (int round = 0; round < 64 && *fd >= 0; round++) {
		n = read(*fd, data, sizeof(data));
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n <= 0) {
			close(*fd);
			*fd = -1;
		} else if (fd == &r->out) {
			send_output(r, data, n);
		} else {
			feed_observations(r, data, n);
		}
	}
	return *fd < 0;
}

/* ---- kernel messages -------------------------------------------------------------------------------- */

static void take_message(struct running *r, char *message)
{
	unsigned int priority;
	unsigned long long number, time_us;
	char *text = strchr(message, ';');
	size_t size;

	if (!text || sscanf(message, "%u,%llu,%llu", &priority, &number, &time_us) != 3)
		return;
	/* The ring went round before it was read: how many bytes is not known, so a byte a message. */
	if (r->kmsg_next && number > r->kmsg_next)
		r->kmsg_dropped += number - r->kmsg_next;
	r->kmsg_next = number + 1;
	/* User space can write to the ring, but not in the kernel's own facility. */
	if (priority >> 3)
		return;
	*text++ = '\0';
	/* UBSAN tells of a place once: the next case to come there would look clean. */
	if (!strncmp(text, "UBSAN: ", strlen("UBSAN: ")))
		r->told_once = true;
	size = strcspn(text, "\n");
	if (r->kmsg_sent + size > STREAM_LIMIT) {
		r->kmsg_dropped += size;
		return;
	}
	r->kmsg_sent += size;
	begin_record(r, "kmsg");
	rec_number("level", priority & 7);
	rec_number("ts_us", time_us);
	rec_bytes("text", text, size);
	rec_end();
}

void begin_kmsg(struct running *r)
{
	static int kmsg = -1;

	/* Opened once: a case can put another file in the place of /dev/kmsg. */
	if (kmsg < 0)
		kmsg = own_open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg >= 0)
		lseek(kmsg, 0, SEEK_END);
	r->kmsg = kmsg;
}

bool drain_kmsg(struct running *r)
{
	static char message[16 * 1024]; /* more than the kernel makes of any: CONSOLE_EXT_LOG_MAX is 8192 */
	ssize_t n;

	for (int round = 0; round < 1024 && r->kmsg >= 0; round++) {
		n = read(r->kmsg, message, sizeof(message) - 1);
		if (n < 0 && errno == EPIPE) {  /* overwritten meanwhile; goes on with the oldest that is left */
			r->kmsg_dropped += !r->kmsg_next;
			continue;
		}
		if (n < 0 && errno != EAGAIN)   /* cannot be read, nor what is behind it */
			r->kmsg_dropped++;
		if (n <= 0)
			return true;
		message[n] = '\0';
		take_message(r, message);
	}
	return r->kmsg < 0;
}

#define MOST_ROUNDS 4096                /* 8 GiB in a pipe; a ring of four million messages */

void drain_all(struct running *r)
{
	int rounds = 0;

	while (!drain_pipe(r, &r->obs) && ++rounds < MOST_ROUNDS)
		;
	while (!drain_pipe(r, &r->out) && ++rounds < MOST_ROUNDS)
		;
	while (!drain_kmsg(r) && ++rounds < MOST_ROUNDS)
		;
	/* Without a line's end, it may be the half of another value. */
	if (r->line_size && !r->line_skip)
		drop_observation(r, "the last observation has no newline, and is dropped");
	r->line_size = 0;
	r->out_dropped += rounds == MOST_ROUNDS;
}
