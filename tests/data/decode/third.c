/* Of the name of one in second.c, and of another length. */
extern int counter;
extern int last(int value);

static __attribute__((noinline)) int longer(int value)
{
	counter = value;
	return 3;
}

int third(int value)
{
	return longer(value) + last(value);
}
