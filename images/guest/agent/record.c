// SPDX-License-Identifier: GPL-2.0-only
/*
 * The channel: KP <mark> <seq> <mac> <type>[ key=value...]
 *
 * Both hang on the nonce, which itself is never sent: a case that is root can read this port back (a UART has
 * a loopback mode), and must not learn from a record how to make another. The mark is HMAC-SHA256 of "mark",
 * the mac that of "<seq> <type>[ key=value...]" as sent; the first 16 bytes of either, in hex. A record is one
 * write of one line, so the host sees it whole or sees that it was damaged.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* Enough for a kernel message of 8 KiB, each byte as %XX. */
static char body[28 * 1024];
static size_t used, sent;
static unsigned long sequence;
static struct hmac signature;
static char mark[MAC_HEX];
static int channel = -1;

void channel_sign(const char *text, size_t size, char hex[MAC_HEX])
{
	unsigned char digest[SHA256_SIZE];

	hmac_of(&signature, text, size, digest);
	to_hex(digest, MAC_SIZE, hex);
}

void channel_open(const char *nonce)
{
	struct termios tio;

	channel = open(CHANNEL_PATH, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (channel < 0)
		fatal("no channel: cannot open " CHANNEL_PATH, strerror(errno));
	if (tcgetattr(channel, &tio) < 0)
		fatal("no channel: " CHANNEL_PATH " is not a serial port", strerror(errno));
	cfmakeraw(&tio);
	tio.c_cflag |= CLOCAL;
	cfsetspeed(&tio, B115200);
	tcsetattr(channel, TCSANOW, &tio);
	/* Out of a case's way. Root in a case can make the node again; what it writes then lacks the signature. */
	ioctl(channel, TIOCEXCL);
	unlink(CHANNEL_PATH);
	hmac_begin(&signature, nonce, strlen(nonce));
	channel_sign("mark", strlen("mark"), mark);
}

static void write_all(const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(channel, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			fatal("cannot write to the channel", strerror(errno));
		data += n;
		size -= n;
	}
}

void channel_drain(void)
{
	tcdrain(channel);
}

int channel_fd(void)
{
	return channel;
}

size_t channel_sent(void)
{
	return sent;
}

void rec_begin(const char *type)
{
	used = snprintf(body, sizeof(body), "%lu %s", sequence, type);
}

void rec_bytes(const char *key, const void *data, size_t size)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/,+@-";
	const unsigned char *bytes = data;
	size_t key_size = strlen(key);

	/* A value that does not fit is cut between two bytes; the record itself stays whole. */
	if (used + key_size + 2 >= sizeof(body))
		return;
	used += sprintf(body + used, " %s=", key);
	for (size_t i = 0; i < size && used + 4 < sizeof(body); i++) {
		if (bytes[i] && strchr(plain, bytes[i]))
			body[used++] = bytes[i];
		else
			used += sprintf(body + used, "%%%02X", bytes[i]);
	}
}

void rec_text(const char *key, const char *value)
{
	rec_bytes(key, value, strlen(value));
}

void rec_number(const char *key, int64_t value)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%lld", (long long)value);
	rec_text(key, digits);
}

void rec_end(void)
{
	static char line[sizeof(body) + 128];
	char mac[MAC_HEX];
	size_t digits = strcspn(body, " ");
	int size;

	body[used] = '\0';
	channel_sign(body, used, mac);
	size = snprintf(line, sizeof(line), "KP %s %.*s %s%s\n", mark, (int)digits, body, mac, body + digits);
	write_all(line, size);
	sent += size;
	sequence++;
}
