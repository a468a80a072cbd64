/*
 * Every operation passes through the gate, and fork closes it: in the child then nothing is
 * half done and no mutex is held by a thread that does not exist there.
 */
#ifndef HF_FS_GATE_H
#define HF_FS_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

/* gate.word: bit 31 says that the gate is closed, the rest counts who is inside. */
#define GATE_CLOSED UINT32_C(0x80000000)

struct gate {
    _Atomic uint32_t word;
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* the gate opened, or the last one left a closed gate */
};

void gate_init(struct gate *gate);
void gate_deinit(struct gate *gate);

/* Wait until the gate is open, then count as inside. Not re-entrant. */
void gate_enter(struct gate *gate);
void gate_leave(struct gate *gate);

/* Close it and wait until nobody is inside. If another thread has closed it, wait for that
 * one to open it first. */
void gate_close(struct gate *gate);
void gate_open(struct gate *gate);

/* In the child of a fork that happened with the gate closed: open it, without its history. */
void gate_open_in_child(struct gate *gate);

#endif
