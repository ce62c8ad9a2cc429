/* The other file. */
extern int counter;
extern int caller(int value);

/* Of the same name, and as long, in first.c. */
static __attribute__((noinline)) int common(int value)
{
	counter ^= value;
	return counter;
}

__attribute__((noinline, section(".text.unlikely"))) int rare(int value)
{
	return value - caller(value);
}

static __attribute__((noinline)) int longer(int value)
{
	for (int i = 0; i < value; i++)
		counter += i;
	return counter;
}

int last(int value)
{
	return common(value) + longer(value) + rare(value);
}
