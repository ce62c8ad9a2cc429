// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that is used by hand: a shell on the console instead of the cases, which it can run by name.
 *
 * The kernel's command line asks for it, so that the very initramfs of a test can be booted like this as well:
 *
 *   kmodpipe.shell          a shell
 *   kmodpipe.case=NAME      which begins with this case
 *   kmodpipe.gdb            tells the host where the modules are, and lets a person attach before that case
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUN_DIR "/kmodpipe/run"         /* a script for each case, with its arguments: read by the program `run` */
#define START_PATH "/etc/kmodpipe-shell"

void shell_read(struct by_hand *by_hand)
{
	static char cmdline[4096];
	char *save = NULL;

	memset(by_hand, 0, sizeof(*by_hand));
	read_file("/proc/cmdline", cmdline, sizeof(cmdline));
	for (char *word = strtok_r(cmdline, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		if (!strcmp(word, "kmodpipe.shell"))
			by_hand->shell = true;
		else if (!strcmp(word, "kmodpipe.gdb"))
			by_hand->gdb = true;
		else if (!strncmp(word, "kmodpipe.case=", strlen("kmodpipe.case=")))
			by_hand->run = word + strlen("kmodpipe.case=");
	}
}

/* ---- what the shell finds ----------------------------------------------------------------------------- */

static void quote(FILE *file, const char *word)
{
	putc('\'', file);
	for (; *word; word++)
		if (*word == '\'')
			fputs("'\\''", file);
		else
			putc(*word, file);
	putc('\'', file);
}

static void write_commands(const struct plan *plan)
{
	char path[PATH_MAX];
	FILE *file;

	if (mkdir(RUN_DIR, 0755) < 0)
		fatal(RUN_DIR, strerror(errno));
	for (size_t i = 0; i < plan->case_count; i++) {
		snprintf(path, sizeof(path), "%s/%s", RUN_DIR, plan->cases[i].id);
		file = fopen(path, "we");
		if (!file)
			fatal(path, strerror(errno));
		fputs("exec", file);
		for (char **word = plan->cases[i].args; *word; word++) {
			putc(' ', file);
			quote(file, *word);
		}
		putc('\n', file);
		fclose(file);
	}
}

static void mount_folder(const struct folder *folder)
{
	if (!folder->tag)
		return;
	mkdir(folder->path, 0755);
	if (mount(folder->tag, folder->path, "9p", MS_NOSUID | MS_NODEV | (folder->writable ? 0 : MS_RDONLY),
		  "trans=virtio,version=9p2000.L,msize=262144") < 0)
		fprintf(stderr, "kmodpipe-agent: the host's folder cannot be mounted: %s\n", strerror(errno));
	else
		setenv("KMODPIPE_FOLDER", folder->path, true);
}

/* ---- the shell ---------------------------------------------------------------------------------------- */

static _Noreturn void become_shell(const struct by_hand *by_hand, const char *module_path)
{
	sigset_t nothing_blocked;
	int tty;

	set_environment("shell", module_path, "linux");
	setenv("PS1", "guest:\\w# ", true);
	setenv("ENV", START_PATH, true);
	setenv("KMODPIPE_CASES", CASES_DIR, true);
	if (by_hand->run)
		setenv("KMODPIPE_RUN", by_hand->run, true);
	if (by_hand->gdb)
		setenv("KMODPIPE_GDB", "y", true);
	sigemptyset(&nothing_blocked);
	sigprocmask(SIG_SETMASK, &nothing_blocked, NULL);
	setsid();
	tty = open(CONSOLE_PATH, O_RDWR);
	if (tty < 0)
		_exit(127);
	ioctl(tty, TIOCSCTTY, 0);
	/* Observations of a script that is run by its path are shown on the terminal: 3 goes there too. */
	for (int fd = 0; fd <= 3; fd++)
		dup2(tty, fd);
	if (chdir("/root") == 0)
		execl("/bin/sh", "sh", "-i", NULL);
	_exit(127);
}

void run_shell(const struct plan *plan, const struct by_hand *by_hand, const char *module_path)
{
	pid_t shell, pid;

	write_commands(plan);
	mount_folder(&plan->folder);
	if (by_hand->gdb)
		for (size_t i = 0; i < plan->module_count; i++)
			tell_sections(&plan->modules[i]);
	rec_begin("shell");
	rec_end();
	/* The host knows where the modules are before a person can begin anything. */
	channel_drain();
	shell = fork();
	if (shell == 0)
		become_shell(by_hand, module_path);
	while ((pid = waitpid(-1, NULL, 0)) != shell && (pid > 0 || errno == EINTR))
		;
}
