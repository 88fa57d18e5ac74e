#ifndef _SEMAPHORE_H
#define _SEMAPHORE_H
typedef int sem_t;
int sem_init(sem_t *semaphore, int shared, unsigned int value);
int sem_wait(sem_t *semaphore);
int sem_post(sem_t *semaphore);
#endif
