/*
 * gcc, remembering its answers to kbuild's and Kconfig's questions.
 *
 * Every make and every conf asks the compiler some hundred times whether it knows an option, by compiling /dev/null; that
 * is most of what a warm module build does. The answer depends on the arguments alone (the compiler is part of every key),
 * and only the exit status is looked at. Whatever is not such a question goes to gcc as it is, through the LAUNCHER
 * (ccache) if there is one. Nearly every call is a compilation: it must cost no more than the start of a small program.
 *
 *   PROBES    a file of answers: "STATUS ARGUMENTS" a line, without the name of the output file
 *   LAUNCHER  optional: the program that starts gcc for a compilation
 *   LAUNCHED  optional: only for one with this argument
 *   POISON    optional: a folder with a configuration in which symbols are poisoned. The names of the module's objects that
 *             are compiled from texts without any of them are written to the file POISON/neutral
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(125);
}

static void *room(size_t size)
{
	void *made = malloc(size);

	if (!made)
		fail("cc");
	return made;
}

static char *joined(const char *one, const char *two)
{
	char *both = room(strlen(one) + strlen(two) + 1);

	return strcat(strcpy(both, one), two);
}

static const char *setting(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

/* Run gcc without a word, and return whether it succeeded. */
static int succeeds(char **argv)
{
	posix_spawn_file_actions_t quiet;
	pid_t child;
	int status;

	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&quiet, 1, 2);
	if (posix_spawnp(&child, argv[0], &quiet, NULL, argv, environ))
		return 0;
	while (waitpid(child, &status, 0) < 0)
		;
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

/* Return a file's content with a NUL after it, and its size; NULL if it cannot be read. */
static char *content(const char *path, size_t *size)
{
	int file = open(path, O_RDONLY);
	struct stat about;
	char *text;
	ssize_t got;

	if (file < 0)
		return NULL;
	if (fstat(file, &about))
		fail(path);
	text = room(about.st_size + 1);
	*size = 0;
	while (*size < (size_t)about.st_size && (got = read(file, text + *size, about.st_size - *size)) > 0)
		*size += got;
	text[*size] = '\0';
	close(file);
	return text;
}

static int holds(const char *text, size_t size, const char *word)
{
	return memmem(text, size, word, strlen(word)) != NULL;
}

/* In one write, as others may be writing too. */
static void append(const char *path, const char *line)
{
	int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);

	if (file < 0 || write(file, line, strlen(line)) < 0)
		perror(path);
	if (file >= 0)
		close(file);
}

/* Return the object of the module's that is compiled, or NULL: kbuild's last words are "-c -o OBJECT SOURCE". */
static char *compiled(int argc, char **argv)
{
	char *folder = joined(setting("FOLDER"), "/"), *src = joined(setting("SRC"), "/");
	char *object = argc > 4 ? argv[argc - 2] : "", *source = argv[argc - 1];
	size_t length = strlen(object), named = strlen(source);

	if (argc < 5 || strcmp(argv[argc - 4], "-c") || strcmp(argv[argc - 3], "-o"))
		return NULL;
	if (strncmp(object, folder, strlen(folder)) || length < 2 || strcmp(object + length - 2, ".o"))
		return NULL;
	if (strncmp(source, src, strlen(src)) || named < 2 || strcmp(source + named - 2, ".c"))
		return NULL;
	return object;
}

/* Note whether a compilation is one of the module's that meets no poisoned symbol. */
static void tell_neutral(int argc, char **argv, const char *poison)
{
	char *object = compiled(argc, argv), **asked, *text;
	char *configuration = joined(poison, "/generated/autoconf.h");
	size_t size;

	if (!object)
		return;
	asked = room((argc + 3) * sizeof(*asked));
	asked[0] = "gcc";
	asked[1] = joined("-I", poison);
	memcpy(asked + 2, argv + 1, (argc - 1) * sizeof(*asked));
	asked[argc + 1] = "-E";
	asked[argc + 2] = NULL;
	/* The text goes where the object comes then; what an assembler includes is not in it. */
	if (!succeeds(asked))
		return;
	text = content(object, &size);
	if (text && holds(text, size, configuration) && !holds(text, size, ".include") && !holds(text, size, "incbin"))
		append(joined(poison, "/neutral"), joined(object, "\n"));
}

/* Return the arguments as they stand in PROBES after the status; NULL if they cannot. */
static char *question(int argc, char **argv)
{
	size_t size = 1;
	char *asked;
	int n;

	for (n = 1; n < argc; n++)
		size += strlen(argv[n]) + 1;
	asked = room(size);
	*asked = '\0';
	for (n = 1; n < argc; n++) {
		if (strchr(argv[n], '\n'))
			return NULL;
		if (!strcmp(argv[n - 1], "-o") && n > 1)
			continue;
		strcat(strcat(asked, " "), argv[n]);
	}
	return asked;
}

/* Return the status in the line with this question; -1 if there is none. */
static int answer(const char *probes, const char *asked)
{
	size_t size, length = strlen(asked);
	char *text = content(probes, &size), *line, *end;

	for (line = text; line && *line; line = end + 1) {
		end = strchr(line, '\n');
		if (!end)
			break;
		if ((size_t)(end - line) == length + 1 && !memcmp(line + 1, asked, length) && (*line == '0' || *line == '1'))
			return *line - '0';
	}
	return -1;
}

static int has(int argc, char **argv, const char *word)
{
	int n;

	for (n = 1; n < argc; n++)
		if (!strcmp(argv[n], word))
			return 1;
	return 0;
}

static int is_question(int argc, char **argv)
{
	int n;

	for (n = 1; n + 2 < argc; n++)
		if (!strcmp(argv[n], "-x") && !strcmp(argv[n + 1], "c") && !strcmp(argv[n + 2], "/dev/null"))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	const char *launcher = setting("LAUNCHER"), *launched = setting("LAUNCHED"), *probes = setting("PROBES");
	char *asked = NULL;
	int status;

	if (is_question(argc, argv))
		asked = *probes ? question(argc, argv) : NULL;
	else if (*setting("POISON"))
		tell_neutral(argc, argv, setting("POISON"));

	if (!asked) {
		char **all = room((argc + 2) * sizeof(*all));

		all[0] = (char *)launcher;
		all[1] = "gcc";
		memcpy(all + 2, argv + 1, argc * sizeof(*all));
		if (is_question(argc, argv) || !*launcher || !has(argc, argv, *launched ? launched : "-c"))
			all++;
		execvp(all[0], all);
		fail(all[0]);
	}

	status = answer(probes, asked);
	if (status < 0) {
		char *line;

		argv[0] = "gcc";
		status = !succeeds(argv);
		line = joined(status ? "1" : "0", joined(asked, "\n"));
		append(probes, line);
	}
	return status;
}
