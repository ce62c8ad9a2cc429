// SPDX-License-Identifier: GPL-2.0-only
/*
 * kp-sparse: a disk image that is mostly zeroes, kept and written without them.
 *
 *   kp-sparse pack IMAGE PACKED                the blocks that are not all zero, each behind its offset
 *   kp-sparse unpack PACKED TARGET [OFFSET]    into a file or device of zeroes; and a fresh version 4 UUID at
 *                                              OFFSET, so that no two disks have the same
 *
 * mkfs takes an emulated processor ten times as long.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define BLOCK 4096

static int failed(const char *what)
{
	fprintf(stderr, "kp-sparse: %s: %s\n", what, strerror(errno));
	return 1;
}

static int pack(const char *image, const char *packed)
{
	static const unsigned char zeroes[BLOCK];
	unsigned char block[BLOCK];
	FILE *from = fopen(image, "rb"), *to = fopen(packed, "wb");
	uint64_t at = 0;

	if (!from || !to)
		return failed(from ? packed : image);
	for (; fread(block, BLOCK, 1, from) == 1; at += BLOCK)
		if (memcmp(block, zeroes, BLOCK) &&
		    (fwrite(&at, sizeof(at), 1, to) != 1 || fwrite(block, BLOCK, 1, to) != 1))
			return failed(packed);
	if (ferror(from) || fclose(to))
		return failed(packed);
	return 0;
}

static int unpack(const char *packed, const char *target, const char *uuid_offset)
{
	unsigned char block[BLOCK], uuid[16];
	FILE *from = fopen(packed, "rb");
	int to = open(target, O_WRONLY | O_CLOEXEC);
	uint64_t at;

	if (!from || to < 0)
		return failed(from ? target : packed);
	while (fread(&at, sizeof(at), 1, from) == 1)
		if (fread(block, BLOCK, 1, from) != 1 || pwrite(to, block, BLOCK, at) != BLOCK)
			return failed(target);
	if (uuid_offset) {
		if (getrandom(uuid, sizeof(uuid), 0) != sizeof(uuid))
			return failed("randomness");
		uuid[6] = (uuid[6] & 0x0f) | 0x40;
		uuid[8] = (uuid[8] & 0x3f) | 0x80;
		if (pwrite(to, uuid, sizeof(uuid), strtoull(uuid_offset, NULL, 0)) != sizeof(uuid))
			return failed(target);
	}
	return ferror(from) || close(to) ? failed(target) : 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "pack"))
		return pack(argv[2], argv[3]);
	if ((argc == 4 || argc == 5) && !strcmp(argv[1], "unpack"))
		return unpack(argv[2], argv[3], argv[4]);
	fputs("usage: kp-sparse pack IMAGE PACKED | unpack PACKED TARGET [OFFSET]\n", stderr);
	return 2;
}
