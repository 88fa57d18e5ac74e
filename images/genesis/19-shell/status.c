/* Needs a working compiler, assembler, linker and start-up code: the exit status is the whole result. */
int main(void)
{
    volatile int product = 6;
    return product * 7;
}
