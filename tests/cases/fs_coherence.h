/* A change, how it is undone, and what an observer says before and after. */
#ifndef HF_TESTS_CASES_FS_COHERENCE_H
#define HF_TESTS_CASES_FS_COHERENCE_H

#include "lib/fs_world.h"

struct pair {
    const char *what;
    void (*undo)(hf_fs *fs);
    void (*change)(hf_fs *fs);
    long (*see)(hf_fs *fs);
    long before;
    long after;
};

/* `d/file` with the ten digits. */
void make_ten_bytes(hf_fs *fs);

/* The size of `d/file`, or why there is none; the fifth of its ten bytes. */
long see_size(hf_fs *fs);
long see_size_through_a_descriptor(hf_fs *fs);
long see_fifth_byte(hf_fs *fs);

/* fs_coherence_data.c: data and extended attributes. */
extern const struct pair data_pairs[];
extern const size_t data_pair_count;
extern const struct pair mapping_pair;

#endif
