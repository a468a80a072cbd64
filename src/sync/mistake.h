/*
 * Deliberate mistakes, to show that the simulator finds them. A test build plants one by
 * defining HF_PLANT_MISTAKE; everywhere else the compiler drops the code.
 */
#ifndef HF_SYNC_MISTAKE_H
#define HF_SYNC_MISTAKE_H

#include <stdbool.h>

#ifndef HF_PLANT_MISTAKE
#define HF_PLANT_MISTAKE 0
#endif

#define HF_MISTAKE_UPGRADE_KEEPS_SHARED 1
#define HF_MISTAKE_STALE_RELEASE_ACCEPTED 2
#define HF_MISTAKE_GRANT_TO_DEAD_COUNTED 3
#define HF_MISTAKE_VALUE_DROPPED_WITH_LAST_HOLD 4
#define HF_MISTAKE_READER_OVERTAKES_WRITER 5
#define HF_MISTAKE_IN_USE_TAKEN_FOR_COMING_DOWN 6

static inline bool mistake_planted(int which)
{
    return HF_PLANT_MISTAKE == which;
}

#endif
