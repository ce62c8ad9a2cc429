/* Functions to be decoded: see README. */
typedef unsigned long size;

int counter;

static inline __attribute__((always_inline)) int twice(int value)
{
	counter += value;
	return counter * 2;
}

/* Of the same name, and as long, in second.c. */
static __attribute__((noinline)) int common(int value)
{
	counter ^= value;
	return counter;
}

__attribute__((noinline)) int caller(int value)
{
	int sum = common(value);

	sum += twice(value);
	return sum;
}

__attribute__((noinline, section(".init.text"))) int starts(int value)
{
	return caller(value) + 1;
}
