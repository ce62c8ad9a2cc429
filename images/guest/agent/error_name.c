// SPDX-License-Identifier: GPL-2.0-only
/* Names of errors, those included that no program should see. */
#define _GNU_SOURCE
#include "agent.h"

#include <stdio.h>
#include <string.h>

/*
 * include/linux/errno.h of the kernel: for itself, but what a module's init returns is what finit_module(2)
 * returns.
 */
static const struct {
	int error;
	const char *name;
} internal[] = {
	{ 512, "ERESTARTSYS" },     { 513, "ERESTARTNOINTR" }, { 514, "ERESTARTNOHAND" },
	{ 515, "ENOIOCTLCMD" },     { 516, "ERESTART_RESTARTBLOCK" }, { 517, "EPROBE_DEFER" },
	{ 518, "EOPENSTALE" },      { 519, "ENOPARAM" },       { 521, "EBADHANDLE" },
	{ 522, "ENOTSYNC" },        { 523, "EBADCOOKIE" },     { 524, "ENOTSUPP" },
	{ 525, "ETOOSMALL" },       { 526, "ESERVERFAULT" },   { 527, "EBADTYPE" },
	{ 528, "EJUKEBOX" },        { 529, "EIOCBQUEUED" },    { 530, "ERECALLCONFLICT" },
	{ 531, "ENOGRACE" },
};

const char *error_name(int error)
{
	static char number[32];
	const char *name = strerrorname_np(error);

	for (size_t n = 0; !name && n < sizeof(internal) / sizeof(internal[0]); n++)
		if (internal[n].error == error)
			name = internal[n].name;
	if (name)
		return name;
	snprintf(number, sizeof(number), "errno-%d", error);
	return number;
}
