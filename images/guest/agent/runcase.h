/* SPDX-License-Identifier: GPL-2.0-only */
/* The state of the case that runs, shared by runcase.c and streams.c. */
#ifndef KMODPIPE_RUNCASE_H
#define KMODPIPE_RUNCASE_H

#include "agent.h"

#include <sys/types.h>

struct running {
	const struct planned *planned;
	double slow;                    /* for the limits below */
	int out, obs, kmsg;             /* -1 when closed */
	pid_t leader;
	int status;                     /* of the leader, once ended_ms is set */
	int64_t started_ms, ended_ms, next_beat_ms;
	bool childless;
	size_t out_sent, out_dropped, kmsg_sent, kmsg_dropped, obs_dropped;
	uint64_t kmsg_next;             /* sequence number that is due */
	unsigned int observations;
	char line[CHUNK + 128];         /* a started observation */
	size_t line_size;
	bool line_skip;                 /* the rest of an overlong one */
	bool told_once;                 /* a kernel report that would not come again */
};

/* A record about this case. */
void begin_record(const struct running *r, const char *type);
/* Sends what a pipe (&r->out or &r->obs) holds now, or much of it; closes it at its end. False: there is more. */
bool drain_pipe(struct running *r, int *fd);
/* The kernel messages that come from now on are the case's. */
void begin_kmsg(struct running *r);
/* Sends the kernel messages since the last time, or many of them. False: there are more. */
bool drain_kmsg(struct running *r);
/* The case is over: what is left in the pipes and of the kernel messages, to their end. */
void drain_all(struct running *r);

#endif
