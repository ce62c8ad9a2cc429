// SPDX-License-Identifier: GPL-2.0-only
/*
 * kp-handle: file handles, as the kernel stores, encodes and decodes them.
 *
 *   kp-handle uuid PATH           the uuid in trusted.overlay.origin of a file in the upper layer: 32 hex
 *                                 digits, "null" where all are 0, "none" where there is no such handle
 *   kp-handle encode PATH         name_to_handle_at(2): TYPE:HEX
 *   kp-handle decode MOUNT HANDLE open_by_handle_at(2): inode number and path of the file that the handle
 *                                leads to; the path is "/" where the kernel knows none for it
 *   kp-handle read MOUNT HANDLE   the same for a file, and its content
 *   kp-handle watch PATH          TYPE:HEX of an inotify watch, from fdinfo: what CRIU keeps in an image
 *
 * What the kernel refuses is printed as the errno's name (ESTALE ...), with exit status 1; 2 for wrong usage.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/*
 * struct ovl_fb of fs/overlayfs/overlayfs.h: version, magic 0xfb, length, flags, type, uuid[16], fid. What was
 * stored before 5.10 begins there; since then a byte of alignment may be on the wire in front of it.
 */
#define OVL_MAGIC 0xfb
#define OVL_UUID_OFFSET 5
#define UUID_SIZE 16

static int refused(void)
{
	const char *name = strerrorname_np(errno);

	puts(name ? name : "unknown-errno");
	return 1;
}

static void print_hex(const unsigned char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		printf("%02x", bytes[i]);
	putchar('\n');
}

static int show_uuid(const char *path)
{
	static const unsigned char null[UUID_SIZE];
	unsigned char handle[512];
	ssize_t size = lgetxattr(path, "trusted.overlay.origin", handle, sizeof(handle));

	if (size < 0 && errno != ENODATA)
		return refused();
	/* An empty value says that the origin cannot be decoded. */
	if (size < OVL_UUID_OFFSET + UUID_SIZE || handle[1] != OVL_MAGIC)
		puts("none");
	else if (!memcmp(handle + OVL_UUID_OFFSET, null, UUID_SIZE))
		puts("null");
	else
		print_hex(handle + OVL_UUID_OFFSET, UUID_SIZE);
	return 0;
}

static struct file_handle *new_handle(void)
{
	struct file_handle *handle = calloc(1, sizeof(*handle) + MAX_HANDLE_SZ);

	if (!handle)
		exit(2);
	handle->handle_bytes = MAX_HANDLE_SZ;
	return handle;
}

static int encode(const char *path)
{
	struct file_handle *handle = new_handle();
	int mount_id;

	if (name_to_handle_at(AT_FDCWD, path, handle, &mount_id, 0) < 0)
		return refused();
	printf("%x:", handle->handle_type);
	print_hex(handle->f_handle, handle->handle_bytes);
	return 0;
}

/* TYPE:HEX; false where it is nothing of the kind. */
static int parse(const char *text, struct file_handle *handle)
{
	char *digits;
	size_t size;

	handle->handle_type = strtoul(text, &digits, 16);
	if (digits == text || *digits++ != ':')
		return 0;
	size = strlen(digits) / 2;
	if (!size || size > MAX_HANDLE_SZ || strspn(digits, "0123456789abcdef") != 2 * size)
		return 0;
	handle->handle_bytes = size;
	for (size_t i = 0; i < size; i++)
		sscanf(digits + 2 * i, "%2hhx", &handle->f_handle[i]);
	return 1;
}

static void copy_out(int fd)
{
	char data[4096];
	ssize_t size;

	while ((size = read(fd, data, sizeof(data))) > 0)
		fwrite(data, 1, size, stdout);
}

static int decode(const char *mount, const char *text, int content)
{
	struct file_handle *handle = new_handle();
	char link[64], path[PATH_MAX];
	struct stat file;
	int root = open(mount, O_RDONLY | O_DIRECTORY), fd;
	ssize_t size;

	if (root < 0)
		return refused();
	if (!parse(text, handle)) {
		fputs("kp-handle: not TYPE:HEX\n", stderr);
		return 2;
	}
	fd = open_by_handle_at(root, handle, O_RDONLY);
	if (fd < 0)
		return refused();
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (content) {
		copy_out(fd);
		return 0;
	}
	size = readlink(link, path, sizeof(path) - 1);
	if (size < 0 || fstat(fd, &file) < 0)
		return refused();
	path[size] = '\0';
	printf("%llu %s\n", (unsigned long long)file.st_ino, path);
	return 0;
}

static int watch(const char *path)
{
	char name[64], line[1024];
	int fd = inotify_init();
	FILE *info;

	if (fd < 0 || inotify_add_watch(fd, path, IN_ALL_EVENTS) < 0)
		return refused();
	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
	info = fopen(name, "r");
	while (info && fgets(line, sizeof(line), info)) {
		const char *type = strstr(line, "fhandle-type:"), *bytes = strstr(line, "f_handle:");

		if (strncmp(line, "inotify ", 8) || !type || !bytes)
			continue;
		printf("%lx:", strtoul(type + strlen("fhandle-type:"), NULL, 16));
		for (bytes += strlen("f_handle:"); isxdigit((unsigned char)*bytes); bytes++)
			putchar(*bytes);
		putchar('\n');
		return 0;
	}
	/* A file system that cannot encode handles shows none. */
	puts("none");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "uuid"))
		return show_uuid(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "encode"))
		return encode(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "decode"))
		return decode(argv[2], argv[3], 0);
	if (argc == 4 && !strcmp(argv[1], "read"))
		return decode(argv[2], argv[3], 1);
	if (argc == 3 && !strcmp(argv[1], "watch"))
		return watch(argv[2]);
	fputs("usage: kp-handle uuid PATH | encode PATH | {decode|read} MOUNT TYPE:HEX | watch PATH\n", stderr);
	return 2;
}
