#include "fs/gate.h"

#include <assert.h>
#include <stddef.h>

void gate_init(struct gate *gate)
{
    atomic_init(&gate->word, 0);
    pthread_mutex_init(&gate->mutex, NULL);
    pthread_cond_init(&gate->changed, NULL);
}

void gate_deinit(struct gate *gate)
{
    assert(atomic_load(&gate->word) == 0);
    pthread_cond_destroy(&gate->changed);
    pthread_mutex_destroy(&gate->mutex);
}

void gate_leave(struct gate *gate)
{
    uint32_t before = atomic_fetch_sub_explicit(&gate->word, 1, memory_order_release);
    if (before == (GATE_CLOSED | 1)) {
        pthread_mutex_lock(&gate->mutex);
        pthread_cond_broadcast(&gate->changed);
        pthread_mutex_unlock(&gate->mutex);
    }
}

void gate_enter(struct gate *gate)
{
    while ((atomic_fetch_add_explicit(&gate->word, 1, memory_order_acquire) & GATE_CLOSED) != 0) {
        gate_leave(gate);
        pthread_mutex_lock(&gate->mutex);
        while ((atomic_load_explicit(&gate->word, memory_order_relaxed) & GATE_CLOSED) != 0) {
            pthread_cond_wait(&gate->changed, &gate->mutex);
        }
        pthread_mutex_unlock(&gate->mutex);
    }
}

void gate_close(struct gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    while ((atomic_load_explicit(&gate->word, memory_order_relaxed) & GATE_CLOSED) != 0) {
        pthread_cond_wait(&gate->changed, &gate->mutex);
    }
    atomic_fetch_or_explicit(&gate->word, GATE_CLOSED, memory_order_acquire);
    while (atomic_load_explicit(&gate->word, memory_order_acquire) != GATE_CLOSED) {
        pthread_cond_wait(&gate->changed, &gate->mutex);
    }
    pthread_mutex_unlock(&gate->mutex);
}

void gate_open(struct gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    atomic_fetch_and_explicit(&gate->word, ~GATE_CLOSED, memory_order_release);
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

void gate_open_in_child(struct gate *gate)
{
    /* Threads that waited, or had counted themselves in to find it closed, are not here. */
    gate_init(gate);
}
