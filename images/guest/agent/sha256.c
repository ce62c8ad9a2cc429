// SPDX-License-Identifier: GPL-2.0-only
/* SHA-256 (FIPS 180-4) and HMAC over it (RFC 2104). The agent is static and small: no library for this. */
#define _GNU_SOURCE
#include "agent.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const uint32_t round_constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int by)
{
	return x >> by | x << (32 - by);
}

static void take_block(struct sha256 *sum, const unsigned char *block)
{
	uint32_t w[64], s[8];

	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 | block[4 * i + 3];
	for (int i = 16; i < 64; i++) {
		uint32_t a = w[i - 15], b = w[i - 2];

		w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
		       (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
	}
	memcpy(s, sum->state, sizeof(s));
	/* The eight words change places with each round: after eight they are where they were. */
	for (int i = 0; i < 64; i += 8) {
#pragma GCC unroll 8
		for (int j = 0; j < 8; j++) {
			uint32_t a = s[-j & 7], b = s[(1 - j) & 7], c = s[(2 - j) & 7];
			uint32_t e = s[(4 - j) & 7], f = s[(5 - j) & 7], g = s[(6 - j) & 7];
			uint32_t t1 = s[(7 - j) & 7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
				      ((e & f) ^ (~e & g)) + round_constants[i + j] + w[i + j];

			s[(3 - j) & 7] += t1;
			s[(7 - j) & 7] = t1 + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
					 ((a & b) ^ (a & c) ^ (b & c));
		}
	}
	for (int i = 0; i < 8; i++)
		sum->state[i] += s[i];
}

void sha256_begin(struct sha256 *sum)
{
	static const uint32_t start[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	};

	memcpy(sum->state, start, sizeof(start));
	sum->size = 0;
}

void sha256_add(struct sha256 *sum, const void *data, size_t size)
{
	const unsigned char *bytes = data;

	while (size > 0) {
		size_t have = sum->size % SHA256_BLOCK, room = SHA256_BLOCK - have;
		size_t part = size < room ? size : room;

		memcpy(sum->block + have, bytes, part);
		sum->size += part;
		bytes += part;
		size -= part;
		if (part == room)
			take_block(sum, sum->block);
	}
}

void sha256_end(struct sha256 *sum, unsigned char digest[SHA256_SIZE])
{
	uint64_t bits = sum->size * 8;
	unsigned char length[8];

	for (int i = 0; i < 8; i++)
		length[i] = bits >> (56 - 8 * i);
	sha256_add(sum, "\x80", 1);
	while (sum->size % SHA256_BLOCK != SHA256_BLOCK - sizeof(length))
		sha256_add(sum, "", 1);
	sha256_add(sum, length, sizeof(length));
	for (int i = 0; i < SHA256_SIZE; i++)
		digest[i] = sum->state[i / 4] >> (24 - 8 * (i % 4));
}

void hmac_begin(struct hmac *mac, const void *key, size_t size)
{
	unsigned char inner[SHA256_BLOCK] = { 0 }, outer[SHA256_BLOCK];

	/* Ours are shorter than a block; what is beyond one would have to be hashed first. */
	memcpy(inner, key, size < SHA256_BLOCK ? size : SHA256_BLOCK);
	memcpy(outer, inner, sizeof(outer));
	for (int i = 0; i < SHA256_BLOCK; i++) {
		inner[i] ^= 0x36;
		outer[i] ^= 0x5c;
	}
	sha256_begin(&mac->inner);
	sha256_add(&mac->inner, inner, sizeof(inner));
	sha256_begin(&mac->outer);
	sha256_add(&mac->outer, outer, sizeof(outer));
}

void hmac_of(const struct hmac *keyed, const void *data, size_t size, unsigned char digest[SHA256_SIZE])
{
	struct hmac mac = *keyed;

	sha256_add(&mac.inner, data, size);
	sha256_end(&mac.inner, digest);
	sha256_add(&mac.outer, digest, SHA256_SIZE);
	sha256_end(&mac.outer, digest);
}

void to_hex(const unsigned char *bytes, size_t size, char *hex)
{
	for (size_t i = 0; i < size; i++)
		sprintf(hex + 2 * i, "%02x", bytes[i]);
}

bool sha256_of_file(int fd, char hex[SHA256_HEX])
{
	unsigned char data[16 * 1024], digest[SHA256_SIZE];
	struct sha256 sum;
	off_t at = 0;
	ssize_t n;

	sha256_begin(&sum);
	/* Where it is read from is not the descriptor's place: the kernel may be given it next. */
	while ((n = pread(fd, data, sizeof(data), at)) > 0) {
		sha256_add(&sum, data, n);
		at += n;
	}
	sha256_end(&sum, digest);
	to_hex(digest, sizeof(digest), hex);
	if (n < 0)
		hex[0] = '\0';
	return n == 0;
}
