/*
 * Files that will be made next. Their numbers are known, since the server grants them in blocks that
 * are used in order; so their handles can be asked for ahead, and a file that was just made is held
 * when it is written, without waiting.
 */
#include "mounts/served/parts.h"

static void leave(struct sb *served, size_t at)
{
    if (served->nursery[at] != NULL) {
        sb_put_node(served->nursery[at]);
        served->nursery[at] = NULL;
    }
}

void sb_empty_nursery(struct sb *served)
{
    for (size_t at = 0; at < SB_NURSERY; at++) {
        leave(served, at);
    }
}

static bool is_in(const struct sb *served, uint64_t number)
{
    const struct sb_node *node = served->nursery[number % SB_NURSERY];
    return node != NULL && node->number == number;
}

static void take_in(struct sb *served, uint64_t number)
{
    const size_t at = number % SB_NURSERY;
    struct sb_node *node;
    if (is_in(served, number)) {
        return;
    }
    leave(served, at);
    if (sb_get_node(served, number, &node) == 0) {
        served->nursery[at] = node;
        client_ask_ahead(node->handle, HF_EXCLUSIVE);
    }
}

void sb_nurse(struct sb *served, uint64_t number)
{
    pthread_mutex_lock(&served->nursery_mutex);
    if (served->nursery_forks != served->forks) {
        sb_empty_nursery(served); /* of a parent's numbers */
        served->nursery_forks = served->forks;
    }
    take_in(served, number);
    leave(served, number % SB_NURSERY);
    /* Several at a time, since each answer wakes a thread. */
    if (!is_in(served, number + SB_NURSERY / 2)) {
        const uint64_t end = client_store_number_end(&served->store, number);
        for (uint64_t next = number + 1; next < end && next < number + SB_NURSERY; next++) {
            take_in(served, next);
        }
    }
    pthread_mutex_unlock(&served->nursery_mutex);
}
