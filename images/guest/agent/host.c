// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host says, on the channel's other way: KH <mac> <ms>
 *
 * A guest's clock goes on, more or less, while the machine that it runs on has no processor for it, and a
 * limit in this clock would be one on the neighbours' patience. The host knows what the guest really had, and
 * says by how much the clock is ahead of that; limits are in what is left, the guest's own time. The mac is
 * that of "ahead <ms>" under the nonce: a case that is root can put bytes in the way, but no word in the host's
 * mouth. A word that is lost or comes again does no harm, as the next one is the sum once more.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 96
#define PREFIX "KH "
#define MOST_READS 32

static int64_t ahead_ms;
static char line[LINE_SIZE];
static size_t used;

static void take_line(void)
{
	char text[64], mac[MAC_HEX], *digits, *end;
	long long ms;

	if (strncmp(line, PREFIX, strlen(PREFIX)) || strlen(line) < strlen(PREFIX) + MAC_HEX)
		return;
	digits = line + strlen(PREFIX) + MAC_HEX;
	ms = strtoll(digits, &end, 10);
	snprintf(text, sizeof(text), "ahead %lld", ms);
	channel_sign(text, strlen(text), mac);
	if (end != digits && !*end && ms > ahead_ms && !memcmp(line + strlen(PREFIX), mac, MAC_HEX - 1))
		ahead_ms = ms;
}

void host_listen(void)
{
	struct pollfd port = { .fd = channel_fd(), .events = POLLIN };
	char data[256];
	ssize_t size;

	/* Not for ever: a case can have the port send back what it writes to it. */
	for (int i = 0; i < MOST_READS && poll(&port, 1, 0) > 0 && (port.revents & POLLIN); i++) {
		size = read(port.fd, data, sizeof(data));
		for (ssize_t at = 0; at < size; at++) {
			if (data[at] == '\n') {
				line[used] = '\0';
				take_line();
				used = 0;
			} else if (used < LINE_SIZE - 1) {
				line[used++] = data[at];
			}
		}
	}
}

int64_t own_ms(void)
{
	return uptime_ms() - ahead_ms;
}
