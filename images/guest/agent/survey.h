/* SPDX-License-Identifier: GPL-2.0-only */
/* What is read out of the guest's file systems, shared by survey.c, places.c, facts.c and state.c. */
#ifndef KMODPIPE_SURVEY_H
#define KMODPIPE_SURVEY_H

#include "agent.h"

#include <stdio.h>

/* A part of the guest that outlives a case. */
struct tree {
	const char *path;
	unsigned int bit;               /* what a difference in it is called: CHANGED_... */
	bool numbers;                   /* inode numbers tell whether something was replaced */
	bool times;                     /* so do times of change, which root cannot set */
	bool owners;                    /* every entry's mode and owner is read, not only those of knobs */
	enum {
		KNOBS,                  /* what can be written and read again, and is of a page's size or less */
		MAPPED,                 /* all files, through a mapping that is made once */
	} content;
	bool opened;                    /* files stay open: not where that holds a module */
	const char *const *unlisted;    /* folders that may grow and shrink */
	const char *const *unread;      /* what is not looked at, folders with all below; patterns, see survey.c */
};

/* Lists what is there now: later looks compare with it. `root` is the tree's folder, which stays open. */
void survey_tree(const struct tree *tree, int root);
/* Remembers one file's content; nothing where there is none. */
void survey_file(const char *path, unsigned int bit);
/* The bits of all that differs, with the first few of them in `names`. */
unsigned int survey_look(char *names, size_t size);
/* The modules were loaded anew: what is the same again but for inode number and address is what counts now. */
void survey_accept(void);

/* ---- places.c ---- */
/* Lists all that stands in file systems and outlives a case. */
void survey_places(void);

/* ---- facts.c ---- */
size_t fact_count(void);                /* 16 at most */
const char *fact_name(size_t number);
uint64_t fact_now(size_t number);

/* ---- hash.c: for what is compared within one boot, under keys that no case knows ---- */
void hash_seed(void);
uint64_t hash_bytes(uint64_t so_far, const void *data, size_t size);
static inline uint64_t hash_number(uint64_t so_far, uint64_t number)
{
	return hash_bytes(so_far, &number, sizeof(number));
}

#endif
