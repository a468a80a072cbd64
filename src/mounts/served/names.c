/* Looking at names. */
#include "mounts/served/parts.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Return: 0 with *out; -ENAMETOOLONG, unless @directory is gone or may not be searched. */
static int check_name(struct sb_node *directory, const char *name, struct wire_name *out)
{
    struct wire_attributes attributes;
    const size_t length = strlen(name);
    if (length <= NAME_MAX) {
        *out = (struct wire_name){.bytes = name, .length = (uint8_t)length};
        return 0;
    }
    int result = sb_attributes_to_judge(directory, &attributes);
    if (result == 0) {
        result = sb_may(directory->served, &attributes, MAY_SEARCH);
    }
    if (result == 0 && attributes.links == 0) {
        result = -ENOENT;
    }
    return result < 0 ? result : -ENAMETOOLONG;
}

/* It was looked up, and will be looked at. */
static void expect_use(struct sb *served, uint64_t number)
{
    const ino_t next = number;
    struct sb_node *node;
    if (sb_get_node(served, number, &node) == 0) {
        client_ask_ahead(node->handle, HF_SHARED);
        sb_look_ahead(&served->backend, &next, 1);
        client_send_queued(served->client);
        sb_put_node(node);
    }
}

static int ask_for_entry(struct sb_node *directory, const char *name, struct wire_attributes *out)
{
    struct wire_operation operation = {.code = WIRE_OP_LOOKUP, .inode = directory->number};
    int result = check_name(directory, name, &operation.name);
    if (result == 0) {
        result = sb_ask_attributes(directory->served, &operation, out);
    }
    if (result == 0) {
        expect_use(directory->served, out->number);
    }
    return result;
}

bool sb_is_empty(struct backend *backend, intptr_t directory)
{
    struct sb *served = sb_of(backend);
    struct sb_node *node = sb_node_of(directory);
    if ((served->flags & WIRE_STORE_EXACT) == 0) {
        return false;
    }
    pthread_mutex_lock(&node->mutex);
    const bool is_empty = sb_is_known(node) && node->attributes.size == SERVED_DIRECTORY_SIZE &&
                          node->attributes.links > 0 &&
                          sb_may(served, &node->attributes, MAY_SEARCH) == 0;
    pthread_mutex_unlock(&node->mutex);
    return is_empty;
}

int sb_open_root(struct backend *backend, const char *source, intptr_t *node,
                 struct stat *attributes)
{
    struct sb *served = sb_of(backend);
    struct sb_node *root;
    struct wire_attributes known;
    int result = sb_get_node(served, served->root, &root);
    if (result < 0) {
        return result;
    }
    result = sb_attributes(root, &known);
    if (result < 0) {
        sb_put_node(root);
        return result;
    }
    sb_fill_stat(served, &known, attributes);
    *node = (intptr_t)root;
    return 0;
}

int sb_lookup(struct backend *backend, intptr_t directory, const char *name, intptr_t *node,
              struct stat *attributes)
{
    struct sb *served = sb_of(backend);
    struct sb_node *found;
    struct wire_attributes known;
    int result = ask_for_entry(sb_node_of(directory), name, &known);
    if (result == 0) {
        result = sb_get_node(served, known.number, &found);
    }
    if (result == 0) {
        sb_fill_stat(served, &known, attributes);
        *node = (intptr_t)found;
    }
    return result;
}

int sb_stat_entry(struct backend *backend, intptr_t directory, const char *name, ino_t number,
                  struct stat *attributes)
{
    struct sb *served = sb_of(backend);
    struct sb_node *node;
    struct wire_attributes known;
    int result;
    if (number == BACKEND_NO_NUMBER) {
        result = ask_for_entry(sb_node_of(directory), name, &known);
    } else {
        result = sb_get_node(served, number, &node);
        if (result == 0) {
            result = sb_attributes(node, &known);
            sb_put_node(node);
        }
    }
    if (result == 0) {
        sb_fill_stat(served, &known, attributes);
    }
    return result;
}

/* ---- bytes of any kind ---- */

int64_t sb_take_bytes(void *context, const uint8_t *data, size_t size)
{
    const struct sb_bytes *copied = context;
    if (size > copied->room) {
        return -EPROTO;
    }
    if (size > 0) {
        memcpy(copied->bytes, data, size);
    }
    return (int64_t)size;
}

ssize_t sb_read_link(struct backend *backend, intptr_t node, char *buffer, size_t size)
{
    char target[PATH_MAX];
    struct sb_bytes copied = {.bytes = (uint8_t *)target, .room = sizeof target};
    const struct wire_operation operation = {.code = WIRE_OP_READ_LINK,
                                             .inode = sb_node_of(node)->number};
    const int64_t length =
        client_store_ask(&sb_of(backend)->store, &operation, 0, sb_take_bytes, &copied);
    if (length < 0) {
        return (ssize_t)sb_as_missing(length);
    }
    const size_t copy = (size_t)length < size ? (size_t)length : size;
    memcpy(buffer, target, copy);
    return (ssize_t)copy;
}

/* ---- listing ---- */

/* Entries of @directory in turn, until @entry says something else than 0. */
static int list_entries(struct sb_node *directory,
                        int (*each)(void *context, const struct wire_entry *entry), void *context)
{
    struct wire_operation operation = {
        .code = WIRE_OP_LIST, .inode = directory->number, .size = WIRE_DATA_MAX};
    struct sb_bytes copied = {.bytes = malloc(WIRE_DATA_MAX), .room = WIRE_DATA_MAX};
    int64_t result = copied.bytes == NULL ? -ENOMEM : 0;
    while (result == 0) {
        result = client_store_ask(&directory->served->store, &operation, 0, sb_take_bytes, &copied);
        if (result <= 0) {
            break;
        }
        const size_t size = (size_t)result;
        result = 0;
        for (size_t at = 0; at < size && result == 0;) {
            struct wire_entry entry;
            /* An entry ends with its name, so that decoding stops there. */
            const size_t taken = wire_get_entry(copied.bytes + at, size - at, &entry);
            if (taken == 0) {
                result = -EPROTO;
                break;
            }
            at += taken;
            operation.offset = entry.offset;
            result = each(context, &entry);
        }
    }
    free(copied.bytes);
    return (int)result;
}

struct listing {
    backend_entry_function *entry;
    void *context;
};

static int pass_on(void *context, const struct wire_entry *entry)
{
    const struct listing *listing = context;
    char name[NAME_MAX + 1];
    memcpy(name, entry->name.bytes, entry->name.length);
    name[entry->name.length] = '\0';
    if (entry->name.length == 0 || strlen(name) != entry->name.length ||
        strchr(name, '/') != NULL) {
        return -EPROTO;
    }
    return listing->entry(
        listing->context, name, entry->number, (unsigned char)IFTODT(entry->mode));
}

static int ask_for_parent(struct sb_node *directory, struct wire_attributes *out)
{
    const struct wire_operation operation = {.code = WIRE_OP_PARENT, .inode = directory->number};
    return sb_ask_attributes(directory->served, &operation, out);
}

int sb_list(struct backend *backend, intptr_t file, backend_entry_function *entry, void *context)
{
    struct sb_node *directory = sb_file_of(file)->node;
    struct listing listing = {.entry = entry, .context = context};
    struct wire_attributes parent;
    int result = ask_for_parent(directory, &parent);
    if (result == 0) {
        result = entry(context, "..", parent.number, DT_DIR);
    }
    return result < 0 ? result : list_entries(directory, pass_on, &listing);
}

/* ---- the way up ---- */

/* Is @number @root or below it? Return: 0; -ENOENT when it is not. */
static int check_below(struct sb *served, uint64_t number, uint64_t root)
{
    while (number != root) {
        const struct wire_operation operation = {.code = WIRE_OP_PARENT, .inode = number};
        struct wire_attributes parent;
        const int result = sb_ask_attributes(served, &operation, &parent);
        if (result < 0 || parent.number == number) {
            return result < 0 ? result : -ENOENT;
        }
        number = parent.number;
    }
    return 0;
}

int sb_parent(struct backend *backend, intptr_t directory, intptr_t root, intptr_t *node,
              struct stat *attributes)
{
    struct sb *served = sb_of(backend);
    struct sb_node *found;
    struct wire_attributes parent;
    const uint64_t top = sb_node_of(root)->number;
    int result = ask_for_parent(sb_node_of(directory), &parent);
    if (result == 0 && top != served->root) {
        result = check_below(served, parent.number, top);
    }
    if (result == 0) {
        result = sb_get_node(served, parent.number, &found);
    }
    if (result == 0) {
        sb_fill_stat(served, &parent, attributes);
        *node = (intptr_t)found;
    }
    return result;
}

/* The entry that has a number. */
struct search {
    uint64_t number;
    char *name;
};

static int compare_entry(void *context, const struct wire_entry *entry)
{
    const struct search *search = context;
    if (entry->number != search->number) {
        return 0;
    }
    memcpy(search->name, entry->name.bytes, entry->name.length);
    search->name[entry->name.length] = '\0';
    return 1;
}

int sb_way_down(struct backend *backend, intptr_t ancestor, intptr_t directory,
                char name[NAME_MAX + 1])
{
    struct sb *served = sb_of(backend);
    const uint64_t top = sb_node_of(ancestor)->number;
    uint64_t number = sb_node_of(directory)->number;
    for (;;) {
        const struct wire_operation operation = {.code = WIRE_OP_PARENT, .inode = number};
        struct wire_attributes parent;
        const int result = sb_ask_attributes(served, &operation, &parent);
        if (result < 0 || parent.number == number) {
            return result < 0 ? result : -ENOENT;
        }
        if (parent.number == top) {
            break;
        }
        number = parent.number;
    }
    struct search search = {.number = number, .name = name};
    const int result = list_entries(sb_node_of(ancestor), compare_entry, &search);
    return result < 0 ? result : result == 1 ? 0 : -ENOENT;
}
