#include "server/mount_text.h"

#include "store/store.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t mount_memory_bytes(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- what is wrong with one ---- */

static const char *path_mistake(const char *path)
{
    if (path == NULL || path[0] != '/') {
        return "PATH must begin with a slash";
    }
    if (strlen(path) >= PATH_MAX) {
        return "PATH is too long";
    }
    for (const char *at = path; *at != '\0';) {
        at += strspn(at, "/");
        const size_t length = strcspn(at, "/");
        if (length > STORE_MAX_NAME) {
            return "a name in PATH is longer than 255 bytes";
        }
        if ((length == 1 || length == 2) && strncmp(at, "..", length) == 0) {
            return "PATH must not have . or .. in it";
        }
        at += length;
    }
    return NULL;
}

const char *mount_mistake(const hf_server_mount *mount)
{
    const bool is_ram = mount->kind == HF_MOUNT_RAM;
    const bool is_direct = mount->kind == HF_MOUNT_DIRECT;
    if (!is_ram && !is_direct && mount->kind != HF_MOUNT_DIR) {
        return "the kind must be ram, dir or direct";
    }
    if (is_ram && mount->source != NULL) {
        return "a ram mount has no SOURCE";
    }
    if (!is_ram && (mount->source == NULL || mount->source[0] == '\0')) {
        return "SOURCE is missing";
    }
    if (is_direct && (mount->size != 0 || mount->inodes != 0)) {
        return "a direct mount has no limits but the host's";
    }
    if (mount->size > STORE_MAX_SIZE || mount->inodes > STORE_MAX_SIZE) {
        return "the limits are too high";
    }
    if (is_ram && (mount->mode & ~(mode_t)07777) != 0) {
        return "the mode must be 0 to 7777";
    }
    if (mount->check != 0 && !is_direct) {
        return "only what clients open themselves, direct, can be checked";
    }
    return path_mistake(mount->path);
}

/* ---- parsing ---- */

struct parsing {
    const char *text; /* all of it */
    const char *at;
    hf_server_mount mount;
    unsigned seen; /* options, by their place in the table */
    char *error;
    size_t error_size;
};

static int __attribute__((format(printf, 2, 3)))
refuse(const struct parsing *parsing, const char *format, ...)
{
    char reason[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    if (parsing->error != NULL) {
        snprintf(parsing->error, parsing->error_size, "\"%s\": %s", parsing->text, reason);
    }
    return -EINVAL;
}

/* Decimal digits, @base 10, or octal ones up to the end of *text. Return: false: there are none, or
 * the number is over @most. *text: what follows. */
static bool take_number(const char **text, unsigned base, uint64_t most, uint64_t *out)
{
    const char *at = *text;
    uint64_t number = 0;
    for (; *at >= '0' && *at < (char)('0' + base); at++) {
        const uint64_t digit = (uint64_t)(*at - '0');
        if (number > (most - digit) / base) {
            return false;
        }
        number = number * base + digit;
    }
    const bool found = at != *text;
    *text = at;
    *out = number;
    return found;
}

/* A number that has K, M, G or T behind it, or nothing. */
static bool take_scaled(const char *text, uint64_t *out)
{
    static const char units[] = "kKmMgGtT";
    uint64_t number = 0;
    if (!take_number(&text, 10, STORE_MAX_SIZE, &number) || number == 0) {
        return false;
    }
    if (*text != '\0') {
        const char *unit = strchr(units, *text);
        const unsigned shift = unit == NULL ? 0 : 10 * (unsigned)((unit - units) / 2 + 1);
        if (unit == NULL || text[1] != '\0' || number > (uint64_t)STORE_MAX_SIZE >> shift) {
            return false;
        }
        number <<= shift;
    }
    *out = number;
    return true;
}

static int take_size(struct parsing *parsing, const char *value)
{
    const char *at = value;
    uint64_t percent = 0;
    if (take_number(&at, 10, 100, &percent) && strcmp(at, "%") == 0) {
        if (parsing->mount.kind != HF_MOUNT_RAM) {
            return refuse(parsing, "size=%s: a percentage of memory is for ram only", value);
        }
        parsing->mount.size = mount_memory_bytes() / 100 * percent;
        return percent > 0 ? 0 : refuse(parsing, "size=%s: must be at least 1%%", value);
    }
    if (!take_scaled(value, &parsing->mount.size)) {
        return refuse(parsing,
                      "size=%s: must be a number of bytes, 1 or more, with K, M, G or T if need "
                      "be, or for ram 1%% to 100%% of the memory",
                      value);
    }
    return 0;
}

static int take_inodes(struct parsing *parsing, const char *value)
{
    if (!take_scaled(value, &parsing->mount.inodes)) {
        return refuse(parsing, "inodes=%s: must be a number, 1 or more", value);
    }
    return 0;
}

static int take_mode(struct parsing *parsing, const char *value)
{
    const char *at = value;
    uint64_t mode = 0;
    if (!take_number(&at, 8, 07777, &mode) || *at != '\0') {
        return refuse(parsing, "mode=%s: must be octal, 0 to 7777", value);
    }
    parsing->mount.mode = (mode_t)mode;
    return 0;
}

/* The highest number is nobody's. */
static int take_id(struct parsing *parsing, const char *name, const char *value, uint32_t *out)
{
    const char *at = value;
    uint64_t id = 0;
    if (!take_number(&at, 10, UINT32_MAX - 1, &id) || *at != '\0') {
        return refuse(parsing, "%s=%s: must be a number, 0 to %u", name, value, UINT32_MAX - 1);
    }
    *out = (uint32_t)id;
    return 0;
}

static int take_uid(struct parsing *parsing, const char *value)
{
    return take_id(parsing, "uid", value, &parsing->mount.uid);
}

static int take_gid(struct parsing *parsing, const char *value)
{
    return take_id(parsing, "gid", value, &parsing->mount.gid);
}

static int take_read_only(struct parsing *parsing, const char *value)
{
    parsing->mount.read_only = 1;
    return 0;
}

static int take_check(struct parsing *parsing, const char *value)
{
    parsing->mount.check = 1;
    return 0;
}

static const struct {
    const char *name;
    hf_mount_kind kind;
    const char *form;
} kinds[] = {
    /* in the order of their numbers */
    {"ram", HF_MOUNT_RAM, "must be ram:PATH and then options, each after a comma"},
    {"dir", HF_MOUNT_DIR, "must be dir:SOURCE:PATH and then options, each after a comma"},
    {"direct", HF_MOUNT_DIRECT, "must be direct:SOURCE:PATH and then options, each after a comma"},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

#define FOR(kind) (1U << (kind))
#define FOR_ALL (FOR(HF_MOUNT_RAM) | FOR(HF_MOUNT_DIR) | FOR(HF_MOUNT_DIRECT))

static const struct option {
    const char *name;
    unsigned kinds;
    bool has_value;
    int (*take)(struct parsing *parsing, const char *value);
} options[] = {
    {"size", FOR(HF_MOUNT_RAM) | FOR(HF_MOUNT_DIR), true, take_size},
    {"inodes", FOR(HF_MOUNT_RAM) | FOR(HF_MOUNT_DIR), true, take_inodes},
    {"mode", FOR(HF_MOUNT_RAM), true, take_mode},
    {"uid", FOR(HF_MOUNT_RAM), true, take_uid},
    {"gid", FOR(HF_MOUNT_RAM), true, take_gid},
    {"ro", FOR_ALL, false, take_read_only},
    {"check", FOR(HF_MOUNT_DIRECT), false, take_check},
};

#define OPTIONS (sizeof(options) / sizeof(options[0]))

/* @text is NAME or NAME=VALUE, and is changed. */
static int take_option(struct parsing *parsing, char *text)
{
    char *value = strchr(text, '=');
    if (value != NULL) {
        *value++ = '\0';
    }
    for (size_t i = 0; i < OPTIONS; i++) {
        if (strcmp(options[i].name, text) != 0) {
            continue;
        }
        if ((options[i].kinds & FOR(parsing->mount.kind)) == 0) {
            return refuse(
                parsing, "%s is not for a %s mount", text, kinds[parsing->mount.kind - 1].name);
        }
        if (options[i].has_value != (value != NULL)) {
            return refuse(parsing, value == NULL ? "%s needs a value" : "%s takes no value", text);
        }
        if ((parsing->seen & 1U << i) != 0) {
            return refuse(parsing, "%s is there twice", text);
        }
        parsing->seen |= 1U << i;
        return options[i].take(parsing, value);
    }
    return refuse(parsing,
                  "%s: no such option; there are size=, inodes=, mode=, uid=, gid=, ro, check",
                  text[0] == '\0' ? "a comma without an option" : text);
}

/* Copy up to the next ':' or ',' that has no backslash before it to *to, with a NUL. */
static int take_text(struct parsing *parsing, char **to)
{
    const char *at = parsing->at;
    for (; *at != '\0' && *at != ':' && *at != ','; at++) {
        if (*at == '\\') {
            at++;
            if (*at == '\0' || strchr("\\:,", *at) == NULL) {
                return refuse(parsing, "a backslash stands before a : a , or a backslash only");
            }
        }
        *(*to)++ = *at;
    }
    *(*to)++ = '\0';
    parsing->at = at;
    return 0;
}

/* What is behind the kind; @to has room for it all. */
static int take_rest(struct parsing *parsing, const char *form, char *to)
{
    hf_server_mount *mount = &parsing->mount;
    int result = 0;
    if (mount->kind != HF_MOUNT_RAM) {
        mount->source = to;
        result = take_text(parsing, &to);
        if (result == 0 && *parsing->at++ != ':') {
            return refuse(parsing, "%s", form);
        }
    }
    mount->path = to;
    if (result == 0) {
        result = take_text(parsing, &to);
    }
    if (result == 0 && *parsing->at == ':') {
        return refuse(parsing, "%s; a : in a name is written \\:", form);
    }
    while (result == 0 && *parsing->at == ',') {
        const char *option = ++parsing->at;
        const size_t length = strcspn(option, ",");
        memcpy(to, option, length);
        to[length] = '\0';
        parsing->at += length;
        result = take_option(parsing, to);
    }
    return result;
}

static int parse(struct parsing *parsing)
{
    for (size_t i = 0; i < KINDS; i++) {
        const size_t length = strlen(kinds[i].name);
        if (strncmp(parsing->text, kinds[i].name, length) != 0 || parsing->text[length] != ':') {
            continue;
        }
        parsing->mount.kind = kinds[i].kind;
        parsing->at = parsing->text + length + 1;
        int result = take_rest(parsing, kinds[i].form, parsing->mount.texts);
        const char *mistake = result < 0 ? NULL : mount_mistake(&parsing->mount);
        return mistake == NULL ? result : refuse(parsing, "%s", mistake);
    }
    return refuse(parsing, "must begin with ram: or dir: or direct:");
}

int hf_server_mount_parse(const char *text, hf_server_mount *out, char *error, size_t error_size)
{
    struct parsing parsing = {
        .text = text,
        .mount = HF_SERVER_MOUNT_INIT,
        .error = error,
        .error_size = error_size,
    };
    parsing.mount.texts = malloc(strlen(text) + 1);
    if (parsing.mount.texts == NULL) {
        return -ENOMEM;
    }
    int result = parse(&parsing);
    if (result < 0) {
        free(parsing.mount.texts);
        return result;
    }
    *out = parsing.mount;
    return 0;
}
