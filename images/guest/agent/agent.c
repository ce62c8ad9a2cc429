// SPDX-License-Identifier: GPL-2.0-only
/* Start, modules, the cases in turn, end. */
#define _GNU_SOURCE
#include "agent.h"
#include "survey.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_child(int signal)
{
	(void)signal;   /* only to wake ppoll() */
}

static void mount_system(void)
{
	static const struct {
		const char *type, *target;
	} table[] = {
		{ "proc", "/proc" },
		{ "sysfs", "/sys" },
		{ "devtmpfs", "/dev" },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (mount(table[i].type, table[i].target, table[i].type, MS_NOSUID, NULL) < 0)
			fatal(table[i].target, strerror(errno));
}

/*
 * Programs that the kernel starts by itself (modprobe) run outside of the case's mount namespace, and a case can
 * say which program that is. They have no rights but those of a file's owner: they cannot look into the agent or
 * a case (whose observations are on descriptor 3), mount anything, or make the root writable.
 */
static void bind_helpers(void)
{
	static const char *const sets[] = {
		"/proc/sys/kernel/usermodehelper/bset",
		"/proc/sys/kernel/usermodehelper/inheritable",
	};
	static const char text[] = "0 0";

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		int fd = own_open(sets[i], O_WRONLY | O_CLOEXEC);

		/* Without the file the kernel has no such helpers. */
		if (fd < 0)
			continue;
		if (write(fd, text, strlen(text)) < 0)
			fatal(sets[i], strerror(errno));
		close(fd);
	}
}

static void block_child_signal(void)
{
	struct sigaction action = { .sa_handler = on_child };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGCHLD, &action, NULL);
}

static void say_hello(void)
{
	struct utsname name;
	char id[129], cmdline[4096];

	uname(&name);
	read_build_id("/sys/kernel/notes", id, sizeof(id));
	read_file("/proc/cmdline", cmdline, sizeof(cmdline));
	cmdline[strcspn(cmdline, "\n")] = '\0';
	rec_begin("hello");
	rec_text("proto", "1");
	rec_text("release", name.release);
	rec_text("version", name.version);
	rec_text("build_id", id);
	rec_text("cmdline", cmdline);
	rec_number("uptime_ms", uptime_ms());
	rec_end();
}

int main(void)
{
	struct plan plan;
	struct by_hand by_hand;
	const char *module_path, *why = NULL;
	size_t ran = 0;
	bool loaded;

	if (getpid() != 1) {
		fputs("kmodpipe-agent: only to be run as PID 1 of a guest\n", stderr);
		return 2;
	}
	prctl(PR_SET_DUMPABLE, 0);
	/*
	 * Programs of cases are loaded where they were before: an emulator finds what it translated by the address, and
	 * would translate e2fsck anew each time, for three quarters of its time. With linux64 a case has it otherwise.
	 */
	personality(ADDR_NO_RANDOMIZE);
	mount_system();
	own_begin();
	bind_helpers();
	plan_load(&plan);
	shell_read(&by_hand);
	block_child_signal();
	channel_open(plan.nonce);
	seed_randomness();
	hash_seed();
	say_hello();
	leaks_begin();
	counters_begin(&plan);
	loaded = disk_mount(&plan.disk) && load_modules(&plan);
	/* The last one is the module under test. */
	module_path = plan.module_count ? plan.modules[plan.module_count - 1].path : NULL;
	if (!by_hand.shell) {
		state_remember(&plan);
		counters_take(NULL);
	} else if (loaded) {
		run_shell(&plan, &by_hand, module_path);
	}
	/* With a shell, the cases are there to be run by hand. */
	while (loaded && !why && !by_hand.shell && ran < plan.case_count)
		why = run_case(&plan.cases[ran++], &plan, module_path);
	/* The last record. With `retired` the host goes on with the cases that are left, in a fresh guest. */
	rec_begin(why ? "retired" : "done");
	rec_number("cases", ran);
	if (why)
		rec_text("why", why);
	rec_end();
	channel_drain();
	restart();
}
