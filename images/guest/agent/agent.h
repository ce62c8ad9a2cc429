/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kmodpipe's agent: PID 1 of the guest. It loads the module under test, runs the planned cases one after the
 * other and tells the host what it saw over the second serial port.
 *
 *   agent.c    start, modules, the cases in turn, end
 *   plan.c     what the host wants done, from the initramfs
 *   record.c   the channel: one signed line a record
 *   host.c     the channel's other way: how far the guest's clock is ahead of what it had of a processor
 *   sha256.c   SHA-256 of what is loaded and run, and the records' signature
 *   runcase.c  one case: its sandbox, its end, what it left behind
 *   streams.c  what comes out of it, bounded
 *   shell.c    instead of the cases: a shell for a person, in which they can be run
 *   disk.c     the disk with large tools: found, mounted, and still what it was
 *   modules.c  the modules under test: loaded, described, loaded anew
 *   leaks.c    what a case leaked, where the kernel has kmemleak
 *   counters.c what a case executed of the modules, where the kernel has gcov
 *   state.c    what of the guest outlives a case, compared with the start
 *   places.c   the part of it that stands in file systems, by name
 *   facts.c    the part of it that is in no file
 *   survey.c   what is read out of file systems, and compared
 *   item.c     one look at one folder or file of that
 *   hash.c     a fast hash for that
 *   system.c   small looks into /proc and /sys
 */
#ifndef KMODPIPE_AGENT_H
#define KMODPIPE_AGENT_H

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORK_DIR "/work"                /* where a case starts, on a tmpfs of its own */
#define LIB_PATH "/kmodpipe/lib.sh"
#define CASES_DIR "/kmodpipe/cases"     /* a folder for each case, with its script and its files */
#define PLAN_PATH "/kmodpipe/plan"
#define CHANNEL_PATH "/dev/ttyS1"
#define CONSOLE_PATH "/dev/ttyS0"
#define SEARCH_PATH "/usr/sbin:/usr/bin:/sbin:/bin"

#define CHUNK 1024                      /* raw bytes in one out record */
#define STREAM_LIMIT (256 * 1024)       /* of a case's output, and of its kernel messages: the rest is counted */
#define OBSERVATION_LIMIT 500          /* records a case; likewise */
#define GUEST_LIMIT (2 * 1024 * 1024)   /* bytes on the channel, after which no other case begins: the host has bounds */
#define MAC_SIZE 16                     /* bytes of a signature that are sent */
#define MAC_HEX (2 * MAC_SIZE + 1)

/* ---- plan.c ---- */
struct planned {
	const char *index, *id, *script;
	char **args;                    /* NULL-terminated, args[0] is the script */
	char **shell_args;              /* the same behind a leading "sh" */
	int64_t timeout_ms;
};

struct module {
	const char *path;
	char *params;                   /* as finit_module takes them */
	char sha256[65];                /* of the file as it was first loaded; "" before */
};

/* A file system that the guest only reads. */
struct disk {
	const char *serial;             /* the device's; NULL: there is none */
	const char *folder, *type;
};

/* A folder of the host, for a guest that is used by hand. */
struct folder {
	const char *tag;                /* of 9p; NULL: there is none */
	const char *path;
	bool writable;
};

struct plan {
	const char *nonce;
	struct disk disk;
	struct folder folder;
	struct module *modules;         /* in the order they are loaded */
	size_t module_count;
	struct planned *cases;
	size_t case_count;
	double slow;                    /* how many times longer than usual everything may take */
	bool counters;                  /* of what is executed are wanted */
};

/* Reads and removes the plan. Ends the guest where there is none or it makes no sense. */
void plan_load(struct plan *plan);

/* ---- sha256.c ---- */
#define SHA256_SIZE 32
#define SHA256_BLOCK 64
#define SHA256_HEX (2 * SHA256_SIZE + 1)

struct sha256 {
	uint32_t state[8];
	uint64_t size;
	unsigned char block[SHA256_BLOCK];
};

struct hmac {
	struct sha256 inner, outer;
};

void sha256_begin(struct sha256 *sum);
void sha256_add(struct sha256 *sum, const void *data, size_t size);
void sha256_end(struct sha256 *sum, unsigned char digest[SHA256_SIZE]);
/* A key of at most a block, taken once for any number of messages. */
void hmac_begin(struct hmac *mac, const void *key, size_t size);
void hmac_of(const struct hmac *keyed, const void *data, size_t size, unsigned char digest[SHA256_SIZE]);
/* `hex` has room for two digits a byte and a NUL. */
void to_hex(const unsigned char *bytes, size_t size, char *hex);
/* The whole file, whatever the descriptor's place. False, and "", where it cannot be read. */
bool sha256_of_file(int fd, char hex[SHA256_HEX]);

/* ---- record.c ---- */
void channel_open(const char *nonce);
void channel_drain(void);
int channel_fd(void);
/* Bytes of all records so far. */
size_t channel_sent(void);
/* The signature of a text under the nonce. */
void channel_sign(const char *text, size_t size, char hex[MAC_HEX]);
void rec_begin(const char *type);
void rec_text(const char *key, const char *value);
void rec_bytes(const char *key, const void *data, size_t size);
void rec_number(const char *key, int64_t value);
void rec_end(void);

/* ---- host.c ---- */
/* Takes what the host has said. Never waits. */
void host_listen(void);
/* Time since boot in which the host had a processor for this guest, as far as is known: what limits are in. */
int64_t own_ms(void);

/* ---- runcase.c ---- */
/*
 * Runs one case to its reported end, and makes the guest again what it was. NULL; or, where that cannot be
 * done, why this guest is of no more use.
 */
const char *run_case(const struct planned *planned, const struct plan *plan, const char *module_path);

/* ---- shell.c ---- */
/* What the kernel's command line asks for. */
struct by_hand {
	bool shell;                     /* instead of the cases */
	bool gdb;                       /* a debugger is to be attached */
	const char *run;                /* the case that the shell begins with; NULL: none */
};

void shell_read(struct by_hand *by_hand);
/* A shell on the console, until it ends. */
void run_shell(const struct plan *plan, const struct by_hand *by_hand, const char *module_path);

/* ---- disk.c ---- */
/* Mounts the planned disk, if there is one. False, with a record that says why: it cannot be had. */
bool disk_mount(const struct disk *disk);
/* Whether this is the name of its device. */
bool disk_is(const char *name);
/* What of it a case may have changed, beside its mount. */
uint64_t disk_state(void);

/* ---- modules.c ---- */
/* Loads the planned modules and reports each. False: the kernel refused one. */
bool load_modules(const struct plan *plan);
/* Reports where a module's sections are in memory, for a debugger. */
void tell_sections(const struct module *module);
/* Takes every module out and loads the planned ones. 0, or an errno: the call may be repeated. */
int reload_modules(const struct plan *plan);

/* ---- state.c ---- */
#define CHANGED_MODULES 1u
#define CHANGED_TAINT 2u
#define CHANGED_MOUNTS 4u
#define CHANGED_LOOPS 8u
#define CHANGED_FILES 16u
#define CHANGED_LOCKDEP 32u
#define CHANGED_DEVICES 64u
#define CHANGED_KERNEL 128u

/* The guest as it is now is what every case is to find. After `own_begin`, and after the modules. */
void state_remember(const struct plan *plan);
/* What differs from that. */
unsigned int state_changed(void);
/* Gives the calling process the limits that the agent itself was started with. */
void state_inherit(void);
/* The modules were loaded anew, in another process: they are what they were. */
void state_reloaded(void);
/* Undoes what can be undone. May hang: for a child. 0, or the errno that kept the modules. */
int state_restore(void);
/* Adds what still differs to a list for the case's end record, and to a phrase for people. */
void state_tell(unsigned int changed, int error, char *words, char *why, size_t size);

/* ---- leaks.c ---- */
/* Before the first look at the guest's state: it mounts debugfs. */
void leaks_begin(void);
bool leaks_wanted(void);
/* Scans for leaks, which the kernel's messages tell. Takes some seconds. 0, or the errno that kept it. */
int leaks_scan(void);

/* ---- counters.c ---- */
/* After `leaks_begin`. Nothing where the plan does not want counters. */
void counters_begin(const struct plan *plan);
/* The same with a folder of counters, -1 for none. */
void counters_open(int fd);
/* Sends the counters of a case, or with NULL those from the start to the first case, and clears them. */
void counters_take(const char *index);

/* ---- system.c ---- */
int64_t uptime_ms(void);
/* /proc, /sys and /dev as they are now: what is mounted there later is not what the agent reads. */
void own_begin(void);
/* The descriptor of one of these; -1 for any other folder. */
int own_folder(const char *path);
int own_open(const char *path, int flags);
DIR *own_list(const char *path);
/* Reads at most size - 1 bytes and ends them with NUL; -1 where the file cannot be read. */
long read_file(const char *path, char *buffer, size_t size);
/* Hex digits of the GNU build id in a file of ELF notes; "" where there is none. */
void read_build_id(const char *path, char *hex, size_t size);
void module_params(const char *name, char *text, size_t size);
/* Gives the calling process the environment of a case: the plan's variables, and the agent's over them. */
void set_environment(const char *case_id, const char *module_path, const char *terminal);
/* User processes other than the agent; zombies do not count. Calls `thread` with each kernel thread that lasts. */
int count_processes(void (*thread)(const char *name, size_t length));
/* Mounts in the caller's namespace; the first `room` mount points, as mountinfo escapes them. */
int count_mounts(char points[][256], int room);
/* Attached loop devices; `detach` takes them away. */
int count_loops(bool detach);
/* Never NULL; a number that has no name is in a buffer that the next call uses. */
const char *error_name(int error);
/* Waits for no randomness, whatever the processor has. */
void seed_randomness(void);
/* Ends the guest. The machine is started with -no-reboot, so a restart ends it, ACPI or not. */
_Noreturn void restart(void);
_Noreturn void fatal(const char *what, const char *detail);

#endif
