// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fast keyed hash for what is compared within one boot: products of 64-bit words, folded.
 *
 * Ten megabytes of programs are read after every case. SHA-256 takes a hundred times as long under emulation, and is
 * not needed: nothing leaves the guest, and a case that wants two contents with one hash does not know the keys.
 */
#define _GNU_SOURCE
#include "survey.h"

#include <string.h>
#include <sys/random.h>

static uint64_t keys[4] = {
	0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f, 0x165667b19e3779f9, 0xd6e8feb86659fd93,
};

void hash_seed(void)
{
	uint64_t random[4];

	/* Without randomness yet, the processor's clock is what a case cannot repeat. */
	if (getrandom(random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		for (int i = 0; i < 4; i++)
			random[i] = __builtin_ia32_rdtsc() * keys[i];
	for (int i = 0; i < 4; i++)
		keys[i] ^= random[i];
}

static uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t word(const unsigned char *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

uint64_t hash_bytes(uint64_t so_far, const void *data, size_t size)
{
	const unsigned char *bytes = data;
	uint64_t one = so_far ^ keys[2], two = so_far ^ keys[3], rest[2] = { 0 };
	size_t left = size;

	/* Two at a time, which do not wait for each other. */
	for (; left >= 32; left -= 32, bytes += 32) {
		one = fold(word(bytes) ^ keys[0], word(bytes + 8) ^ one);
		two = fold(word(bytes + 16) ^ keys[1], word(bytes + 24) ^ two);
	}
	for (; left >= 16; left -= 16, bytes += 16)
		one = fold(word(bytes) ^ keys[0], word(bytes + 8) ^ one);
	memcpy(rest, bytes, left);
	one = fold(rest[0] ^ keys[1], rest[1] ^ one);
	return fold(one ^ keys[2] ^ size, two ^ keys[0]);
}
