#include "server/config.h"

#include "wire/wire.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIMIT(limit, from, to, preset, text)                                                       \
    {.name = #limit,                                                                               \
     .meaning = text,                                                                              \
     .offset = offsetof(hf_limits, limit),                                                         \
     .width = sizeof(((hf_limits *)NULL)->limit),                                                  \
     .least = from,                                                                                \
     .most = to,                                                                                   \
     .initial = preset},
const struct limit_range limit_ranges[] = {SERVER_LIMITS(LIMIT)};
#undef LIMIT

const size_t limit_range_count = sizeof(limit_ranges) / sizeof(limit_ranges[0]);

_Static_assert(WIRE_FRAME_MAX == 66560, "the range of frame_bytes says so too");

const struct limit_range *limit_find(const char *name)
{
    for (size_t i = 0; i < limit_range_count; i++) {
        if (strcmp(limit_ranges[i].name, name) == 0) {
            return &limit_ranges[i];
        }
    }
    return NULL;
}

uint64_t limit_get(const hf_limits *limits, const struct limit_range *range)
{
    const char *at = (const char *)limits + range->offset;
    uint32_t narrow;
    uint64_t wide;
    if (range->width == sizeof(narrow)) {
        memcpy(&narrow, at, sizeof(narrow));
        return narrow;
    }
    assert(range->width == sizeof(wide));
    memcpy(&wide, at, sizeof(wide));
    return wide;
}

void limit_set(hf_limits *limits, const struct limit_range *range, uint64_t value)
{
    char *at = (char *)limits + range->offset;
    const uint32_t narrow = (uint32_t)value;
    if (range->width == sizeof(narrow)) {
        memcpy(at, &narrow, sizeof(narrow));
    } else {
        memcpy(at, &value, sizeof(value));
    }
}

void hf_server_config_init(hf_server_config *config)
{
    *config = (hf_server_config){.size = sizeof(*config), .log_level = HF_LOG_WARNING};
    for (size_t i = 0; i < limit_range_count; i++) {
        limit_set(&config->limits, &limit_ranges[i], limit_ranges[i].initial);
    }
}

static bool limits_are_good(const hf_limits *limits)
{
    for (size_t i = 0; i < limit_range_count; i++) {
        const struct limit_range *range = &limit_ranges[i];
        const uint64_t value = limit_get(limits, range);
        if (value < range->least || value > range->most) {
            return false;
        }
    }
    return true;
}

int settings_init(struct settings *settings, const hf_server_config *config)
{
    if (config->size != sizeof(*config) || !limits_are_good(&config->limits) ||
        (unsigned)config->log_level > HF_LOG_DEBUG ||
        (config->allow_uid_count > 0 && config->allow_uids == NULL) ||
        (config->mount_count > 0 && config->mounts == NULL)) {
        return -EINVAL;
    }
    *settings = (struct settings){
        .limits = config->limits,
        .log = {config->log_level, config->log, config->log_context},
        .own_uid = geteuid(),
        .trace = config->trace,
        .trace_context = config->trace_context,
    };
    if (config->allow_uid_count > 0) {
        settings->allow_uids = calloc(config->allow_uid_count, sizeof(uid_t));
        if (settings->allow_uids == NULL) {
            return -ENOMEM;
        }
        settings->allow_uid_count = config->allow_uid_count;
        memcpy(settings->allow_uids, config->allow_uids, config->allow_uid_count * sizeof(uid_t));
    }
    return 0;
}

void settings_deinit(struct settings *settings)
{
    free(settings->allow_uids);
    settings->allow_uids = NULL;
    settings->allow_uid_count = 0;
}

bool settings_admit(const struct settings *settings, uid_t uid)
{
    if (uid == settings->own_uid) {
        return true;
    }
    for (size_t i = 0; i < settings->allow_uid_count; i++) {
        if (settings->allow_uids[i] == uid) {
            return true;
        }
    }
    return false;
}
