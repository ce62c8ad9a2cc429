// SPDX-License-Identifier: GPL-2.0-only
/*
 * The plan: lines of tokens between single spaces, every token percent-encoded.
 *
 *   nonce <hex>
 *   slow <factor>                               for every limit but the cases' own, which have it in them
 *   env <name> <value>                          for every case and a shell
 *   disk <serial> <folder> <type>               mounted there, read-only, before the modules are loaded
 *   folder <tag> <folder> ro|rw                 of the host, by 9p: for a shell
 *   counters                                    of what the modules execute, after every case
 *   module <path> [param=value ...]             any number, loaded in this order
 *   case <idx> <id> <timeout_s> <script> [arg ...]
 */
#define _GNU_SOURCE
#include "agent.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char text[1024 * 1024];

static void *must(void *memory)
{
	if (!memory)
		fatal("out of memory", "while reading the plan");
	return memory;
}

static int hex_digit(char c)
{
	const char *digits = "0123456789ABCDEF";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? at - digits : -1;
}

/* Decodes %XX in place. A NUL byte has no business in a path or an argument. */
static char *decode(char *token)
{
	char *to = token;

	for (const char *from = token; *from; from++) {
		int high = -1, low = -1;

		if (*from != '%') {
			*to++ = *from;
			continue;
		}
		high = hex_digit(from[1]);
		low = high < 0 ? -1 : hex_digit(from[2]);
		if (low < 0 || high * 16 + low == 0)
			fatal("the plan is damaged", "bad percent-encoding");
		*to++ = high * 16 + low;
		from += 2;
	}
	*to = '\0';
	return token;
}

/* Splits a line into decoded tokens; the list ends with NULL. */
static char **split(char *line, size_t *count)
{
	size_t room = 2;
	char **tokens, *save = NULL;

	for (const char *p = line; *p; p++)
		room += *p == ' ';
	tokens = must(calloc(room, sizeof(*tokens)));
	*count = 0;
	for (char *t = strtok_r(line, " ", &save); t; t = strtok_r(NULL, " ", &save))
		tokens[(*count)++] = decode(t);
	return tokens;
}

static void take_env(char **tokens)
{
	if (setenv(tokens[1], tokens[2], true) < 0)
		fatal("the plan is damaged: not a variable's name", tokens[1]);
}

static void take_slow(struct plan *plan, const char *token)
{
	char *end;

	plan->slow = strtod(token, &end);
	if (*end || !(plan->slow >= 1 && plan->slow <= 1e4))
		fatal("the plan is damaged: not a factor", token);
}

static void take_module(struct plan *plan, char **tokens, size_t count)
{
	struct module *module;
	size_t size = 1;

	plan->modules = must(reallocarray(plan->modules, plan->module_count + 1, sizeof(*plan->modules)));
	module = &plan->modules[plan->module_count++];
	module->path = tokens[1];
	for (size_t i = 2; i < count; i++)
		size += strlen(tokens[i]) + 1;
	module->params = must(calloc(size, 1));
	for (size_t i = 2; i < count; i++) {
		strcat(module->params, i > 2 ? " " : "");
		strcat(module->params, tokens[i]);
	}
}

static void take_case(struct plan *plan, char **tokens)
{
	struct planned *planned;
	char *end;
	double timeout_s = strtod(tokens[3], &end);

	if (*end || !(timeout_s > 0 && timeout_s < 1e6))
		fatal("the plan is damaged: not a time in seconds", tokens[3]);
	plan->cases = must(reallocarray(plan->cases, plan->case_count + 1, sizeof(*plan->cases)));
	planned = &plan->cases[plan->case_count++];
	planned->index = tokens[1];
	planned->id = tokens[2];
	planned->timeout_ms = timeout_s * 1000;
	planned->script = tokens[4];
	planned->args = tokens + 4;
	tokens[3] = "sh";
	planned->shell_args = tokens + 3;
}

void plan_load(struct plan *plan)
{
	char *save = NULL;
	long size = read_file(PLAN_PATH, text, sizeof(text));

	/* Gone before anything else runs: nobody else learns the nonce. */
	unlink(PLAN_PATH);
	if (size < 0)
		fatal("no plan in the initramfs", PLAN_PATH);
	if (size == sizeof(text) - 1)
		fatal("the plan is too long", PLAN_PATH);
	memset(plan, 0, sizeof(*plan));
	plan->slow = 1;
	/* What the kernel gave its first process is no case's business; what the plan says is. */
	clearenv();
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		size_t count;
		char **tokens = split(line, &count);

		if (count == 2 && !strcmp(tokens[0], "nonce"))
			plan->nonce = tokens[1];
		else if (count == 2 && !strcmp(tokens[0], "slow"))
			take_slow(plan, tokens[1]);
		else if (count == 3 && !strcmp(tokens[0], "env"))
			take_env(tokens);
		else if (count == 4 && !strcmp(tokens[0], "disk"))
			plan->disk = (struct disk){ tokens[1], tokens[2], tokens[3] };
		else if (count == 4 && !strcmp(tokens[0], "folder"))
			plan->folder = (struct folder){ tokens[1], tokens[2], !strcmp(tokens[3], "rw") };
		else if (count == 1 && !strcmp(tokens[0], "counters"))
			plan->counters = true;
		else if (count >= 2 && !strcmp(tokens[0], "module"))
			take_module(plan, tokens, count);
		else if (count >= 5 && !strcmp(tokens[0], "case"))
			take_case(plan, tokens);
		else if (count)
			fatal("the plan has a line that this agent does not know", tokens[0]);
	}
	if (!plan->nonce)
		fatal("the plan is damaged", "no nonce");
}
