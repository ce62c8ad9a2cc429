/*
 * Loaded into Kconfig's conf (LD_PRELOAD): answers a question that was asked before from a file.
 *
 * Each time conf reads the Kconfig files it asks some hundred questions about the compiler, the linker and the assembler
 * ($(shell,...) in Documentation/kbuild/kconfig-macro-language.rst), each by a shell. They do not depend on the
 * configuration, and take ten times as long as all the rest.
 *
 *   REMEMBERED  the file, of "LENGTH LENGTH STATUS\n" and then the question and the answer, one after the other
 *   NOTED       optional: a folder, to note there how conf was called: environment (for a shell), folder, arguments
 *
 * Without effect in other programs, as make and all that it starts get it too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct answer {
	struct answer *next;
	char *question, *text;
	size_t asked, size;
	int status;
	FILE *stream; /* while it is read */
};

static struct answer *answers;

static int is_conf(void)
{
	return !strcmp(program_invocation_short_name, "conf") && getenv("REMEMBERED");
}

static FILE *note(const char *name)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", getenv("NOTED"), name);
	file = fopen(path, "w");
	if (!file)
		abort();
	return file;
}

__attribute__((constructor)) static void note_call(int argc, char **argv, char **envp)
{
	char folder[4096];
	FILE *file;
	int n;

	if (!is_conf() || !getenv("NOTED"))
		return;
	file = note("environment");
	for (; *envp; envp++) {
		const char *c = strchr(*envp, '=');

		/* A container's name is of no use to another one. */
		if (!c || !strncmp(*envp, "HOSTNAME=", 9) ||
		    strspn(*envp, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789") != (size_t)(c - *envp))
			continue;
		fprintf(file, "export %.*s='", (int)(c - *envp), *envp);
		for (c++; *c; c++)
			fprintf(file, *c == '\'' ? "'\\''" : "%c", *c);
		fputs("'\n", file);
	}
	fclose(file);
	file = note("folder");
	fprintf(file, "%s\n", getcwd(folder, sizeof(folder)) ? folder : ".");
	fclose(file);
	file = note("arguments");
	for (n = 1; n < argc; n++)
		fprintf(file, "%s\n", argv[n]);
	fclose(file);
}

static struct answer *keep(const char *question, size_t asked, const char *text, size_t size, int status)
{
	struct answer *new = calloc(1, sizeof(*new));

	if (!new)
		abort();
	new->question = strndup(question, asked);
	new->text = malloc(size + 1);
	if (!new->question || !new->text)
		abort();
	memcpy(new->text, text, size);
	new->asked = asked;
	new->size = size;
	new->status = status;
	new->next = answers;
	return answers = new;
}

static void recall(void)
{
	const char *name = getenv("REMEMBERED");
	FILE *file = name ? fopen(name, "r") : NULL;
	size_t asked, size;
	int status;

	while (file && fscanf(file, "%zu %zu %d", &asked, &size, &status) == 3 && fgetc(file) == '\n') {
		char *both = malloc(asked + size + 1);

		if (!both)
			abort();
		if (fread(both, 1, asked + size, file) == asked + size)
			keep(both, asked, both + asked, size, status);
		free(both);
	}
	if (file)
		fclose(file);
}

static struct answer *ask(const char *question)
{
	FILE *(*really)(const char *, const char *) = dlsym(RTLD_NEXT, "popen");
	int (*end)(FILE *) = dlsym(RTLD_NEXT, "pclose");
	struct answer *new;
	char *text = NULL, *record = NULL;
	size_t size = 0, length = 0;
	FILE *pipe = really(question, "r"), *memory;
	int c, file;

	if (!pipe)
		return NULL;
	memory = open_memstream(&text, &size);
	if (!memory)
		abort();
	while ((c = fgetc(pipe)) != EOF)
		fputc(c, memory);
	fclose(memory);
	new = keep(question, strlen(question), text, size, end(pipe));
	free(text);

	memory = open_memstream(&record, &length);
	if (!memory)
		abort();
	fprintf(memory, "%zu %zu %d\n%s", new->asked, new->size, new->status, question);
	fwrite(new->text, 1, new->size, memory);
	fclose(memory);
	/* In one write, as others may be asking too. Who cannot write asks again. */
	file = open(getenv("REMEMBERED"), O_WRONLY | O_CREAT | O_APPEND, 0644);
	if (file >= 0) {
		if (write(file, record, length) < 0)
			perror("REMEMBERED");
		close(file);
	}
	free(record);
	return new;
}

FILE *popen(const char *question, const char *mode)
{
	struct answer *found;

	if (strcmp(mode, "r") || !is_conf()) {
		FILE *(*really)(const char *, const char *) = dlsym(RTLD_NEXT, "popen");

		return really(question, mode);
	}
	if (!answers)
		recall();
	for (found = answers; found; found = found->next)
		if (!found->stream && !strcmp(found->question, question))
			break;
	if (!found)
		found = ask(question);
	if (!found)
		return NULL;
	return found->stream = found->size ? fmemopen(found->text, found->size, "r") : fopen("/dev/null", "r");
}

int pclose(FILE *stream)
{
	int (*really)(FILE *) = dlsym(RTLD_NEXT, "pclose");
	struct answer *found;

	for (found = answers; found; found = found->next)
		if (stream && found->stream == stream) {
			found->stream = NULL;
			fclose(stream);
			return found->status;
		}
	return really(stream);
}
