#include "cli/demo_board.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Cut @count elements of @size bytes off the front of the memory at @at. */
static void *carve(char **at, uint64_t count, size_t size)
{
    void *piece = *at;
    /* The next piece begins at a multiple of 128 again. */
    *at += (count * size + 127) / 128 * 128;
    return piece;
}

struct board *board_new(const struct workload *workload, uint64_t kills)
{
    const uint64_t most = workload_most(workload);
    const size_t size = sizeof(struct board) +
                        (size_t)workload->clients * sizeof(struct board_slot) +
                        kills * sizeof(struct board_doubt) +
                        most * workload->clients * sizeof(uint64_t) + 4 * (size_t)128;
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    char *at = memory;
    struct board *board = carve(&at, 1, sizeof(*board));
    board->slots = carve(&at, workload->clients, sizeof(struct board_slot));
    board->doubts = carve(&at, kills, sizeof(struct board_doubt));
    board->ends = carve(&at, most * workload->clients, sizeof(uint64_t));
    board->doubt_room = kills;
    board->most = most;
    board->memory_size = size;
    assert((size_t)(at - (char *)memory) <= size);
    return board;
}

struct board *board_free(struct board *board)
{
    if (board != NULL) {
        munmap(board, board->memory_size);
    }
    return NULL;
}

void board_note_doubt(struct board *board, unsigned client)
{
    const struct board_slot *slot = &board->slots[client];
    const uint64_t returned = atomic_load(&slot->returned);
    if (atomic_load(&slot->started) == returned) {
        return;
    }
    const uint64_t count = atomic_load(&board->doubt_count);
    assert(count < board->doubt_room);
    struct board_doubt *doubt = &board->doubts[count];
    doubt->line = (struct line_name){client, returned};
    atomic_store(&doubt->outcome, DOUBT_OPEN);
    atomic_store(&board->doubt_count, count + 1);
}

size_t board_possible_fragments(const struct board *board, unsigned clients, struct line_name **out)
{
    /* First the lines being written: one that is noted meanwhile is then seen twice, not never. */
    struct line_name *lines = malloc((clients + board->doubt_room) * sizeof(*lines));
    *out = lines;
    if (lines == NULL) {
        return 0;
    }
    size_t count = 0;
    for (unsigned client = 0; client < clients; client++) {
        const struct board_slot *slot = &board->slots[client];
        const uint64_t started = atomic_load(&slot->started);
        if (started > atomic_load(&slot->returned)) {
            lines[count++] = (struct line_name){client, started - 1};
        }
    }
    const uint64_t noted = atomic_load(&board->doubt_count);
    for (uint64_t i = 0; i < noted; i++) {
        lines[count++] = board->doubts[i].line;
    }
    return count;
}

uint64_t board_count_doubts(const struct board *board, enum doubt_outcome outcome)
{
    uint64_t count = 0;
    const uint64_t noted = atomic_load(&board->doubt_count);
    for (uint64_t i = 0; i < noted; i++) {
        count += atomic_load(&board->doubts[i].outcome) == (int)outcome;
    }
    return count;
}
