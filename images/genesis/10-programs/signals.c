/* Signals and jumps: a handler is called, a fault is survived, and jumps restore variables and the signal mask. */
#include "check.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t seen;
static sigjmp_buf back;

static void note(int number)
{
    seen = number;
}

static void leave(int number)
{
    siglongjmp(back, number);
}

static void deep(jmp_buf place, int depth)
{
    if (depth == 0)
        longjmp(place, 42);
    deep(place, depth - 1);
}

int main(void)
{
    struct sigaction action = { 0 };
    jmp_buf place;
    sigset_t blocked;
    volatile int tries = 0;
    int status;
    pid_t child;

    action.sa_handler = note;
    CHECK(sigaction(SIGUSR1, &action, 0) == 0);
    CHECK(raise(SIGUSR1) == 0 && seen == SIGUSR1);
    action.sa_handler = leave;
    CHECK(sigaction(SIGSEGV, &action, 0) == 0);
    if (sigsetjmp(back, 1) == 0) {
        tries++;
        *(volatile int *)8 = 1;
    }
    CHECK(tries == 1);
    CHECK(sigprocmask(SIG_BLOCK, 0, &blocked) == 0 && !sigismember(&blocked, SIGSEGV));
    status = setjmp(place);
    if (status == 0)
        deep(place, 100);
    CHECK(status == 42);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        signal(SIGTERM, SIG_DFL);
        kill(getpid(), SIGTERM);
        _exit(3);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    puts("signals: right");
    return 0;
}
