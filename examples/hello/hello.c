// SPDX-License-Identifier: GPL-2.0
/* A file in /proc that says what a parameter is. */
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

static unsigned int answer = 42;
module_param(answer, uint, 0644);
MODULE_PARM_DESC(answer, "the number that /proc/hello shows");

static int hello_show(struct seq_file *file, void *unused)
{
	seq_printf(file, "%u\n", answer);
	return 0;
}

static int __init hello_init(void)
{
	return proc_create_single("hello", 0444, NULL, hello_show) ? 0 : -ENOMEM;
}

static void __exit hello_exit(void)
{
	remove_proc_entry("hello", NULL);
}

module_init(hello_init);
module_exit(hello_exit);
MODULE_DESCRIPTION("An example of a module that is in no kernel tree");
MODULE_LICENSE("GPL");
