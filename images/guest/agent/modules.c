// SPDX-License-Identifier: GPL-2.0-only
/* The modules of the plan: loaded, described, and loaded anew when a case has changed something about them. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The name the kernel knows a module by: its file's, without folder and .ko, with _ for -. */
static void module_name(const char *path, char *name, size_t size)
{
	const char *slash = strrchr(path, '/');
	char *dot;

	snprintf(name, size, "%s", slash ? slash + 1 : path);
	dot = strstr(name, ".ko");
	if (dot)
		*dot = '\0';
	for (char *p = name; *p; p++)
		if (*p == '-')
			*p = '_';
}

/*
 * 0, or an errno. A build id does not tell two modules apart (it covers neither relocations nor symbol
 * names), so the host compares the file's digest; and what is loaded anew must be that very file: root in a
 * case can have written to it.
 */
static int insert(struct module *module)
{
	int fd = open(module->path, O_RDONLY | O_CLOEXEC);
	char sha256[SHA256_HEX];
	int error = 0;

	if (fd < 0)
		return errno;
	if (!sha256_of_file(fd, sha256))
		error = EIO;
	else if (module->sha256[0] && strcmp(module->sha256, sha256))
		error = EKEYREJECTED;
	else if (syscall(SYS_finit_module, fd, module->params, 0) < 0)
		error = errno;
	else
		memcpy(module->sha256, sha256, sizeof(sha256));
	close(fd);
	return error;
}

static bool load_module(struct module *module)
{
	char name[128], path[256], id[129], params[4096];
	int error = insert(module);

	module_name(module->path, name, sizeof(name));
	if (error) {
		rec_begin("refused");
		rec_text("what", "module");
		rec_text("name", name);
		rec_text("errno", error_name(error));
		rec_end();
		return false;
	}
	snprintf(path, sizeof(path), "/sys/module/%s/notes/.note.gnu.build-id", name);
	read_build_id(path, id, sizeof(id));
	module_params(name, params, sizeof(params));
	rec_begin("module");
	rec_text("name", name);
	rec_text("build_id", id);
	rec_text("sha256", module->sha256);
	rec_text("params", params);
	rec_end();
	return true;
}

bool load_modules(const struct plan *plan)
{
	for (size_t i = 0; i < plan->module_count; i++)
		if (!load_module(&plan->modules[i]))
			return false;
	return true;
}

void tell_sections(const struct module *module)
{
	char name[128], folder[256], path[PATH_MAX], address[64];
	struct dirent **entries;
	int count;

	module_name(module->path, name, sizeof(name));
	snprintf(folder, sizeof(folder), "/sys/module/%s/sections", name);
	count = scandir(folder, &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		if (strcmp(entries[i]->d_name, ".") && strcmp(entries[i]->d_name, "..") &&
		    read_file(path, address, sizeof(address)) > 0) {
			address[strcspn(address, "\n")] = '\0';
			rec_begin("section");
			rec_text("module", name);
			rec_text("name", entries[i]->d_name);
			rec_text("address", address);
			rec_end();
		}
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

/* ---- anew ------------------------------------------------------------------------------------------- */

int reload_modules(const struct plan *plan)
{
	static char list[64 * 1024];
	char *save = NULL;
	int error = 0;

	/*
	 * Whatever is loaded came with the plan or with a case. The list has the newest first, so one that
	 * others need comes after them.
	 */
	read_file("/proc/modules", list, sizeof(list));
	for (char *line = strtok_r(list, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		line[strcspn(line, " ")] = '\0';
		if (syscall(SYS_delete_module, line, O_NONBLOCK) < 0)
			error = errno;
	}
	for (size_t i = 0; !error && i < plan->module_count; i++)
		error = insert(&plan->modules[i]);
	return error;
}
