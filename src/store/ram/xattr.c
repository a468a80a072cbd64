/* Extended attributes of the store in memory: a list for each inode, which its bounds keep short. */
#include "store/ram/ram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

/* The link to the attribute, or the one at the end of the list. */
static struct ram_xattr **find_xattr(struct ram_inode *inode, struct store_name name)
{
    struct ram_xattr **link = &inode->xattrs;
    while (*link != NULL && ((*link)->name_length != name.length ||
                             memcmp((*link)->bytes, name.bytes, name.length) != 0)) {
        link = &(*link)->next;
    }
    return link;
}

static uint32_t list_bytes(const struct ram_xattr *xattr)
{
    return xattr == NULL ? 0 : xattr->name_length + UINT32_C(1);
}

static uint32_t all_bytes(const struct ram_xattr *xattr)
{
    return xattr == NULL ? 0 : list_bytes(xattr) + xattr->value_size;
}

/* The attribute at @link goes, and its space. */
static void drop(struct ram_store *ram, struct ram_inode *inode, struct ram_xattr **link)
{
    struct ram_xattr *xattr = *link;
    const uint64_t pages = store_xattr_pages(inode->xattr_bytes);
    inode->xattr_bytes -= all_bytes(xattr);
    inode->xattr_list_bytes -= list_bytes(xattr);
    store_free_pages(&ram->store, pages - store_xattr_pages(inode->xattr_bytes));
    *link = xattr->next;
    free(xattr);
}

void ram_drop_xattrs(struct ram_store *ram, struct ram_inode *inode)
{
    while (inode->xattrs != NULL) {
        drop(ram, inode, &inode->xattrs);
    }
}

void ram_drop_capability(struct ram_store *ram, struct ram_inode *inode)
{
    static const char name[] = "security.capability";
    if (inode->xattrs == NULL) {
        return;
    }
    struct ram_xattr **link = find_xattr(inode, (struct store_name){name, sizeof(name) - 1});
    if (*link != NULL) {
        drop(ram, inode, link);
    }
}

int64_t ram_get_xattr(struct store *store, uint64_t number, struct store_name name, void *value,
                      size_t size)
{
    struct ram_inode *inode = ram_find_inode(ram_of(store), number);
    if (inode == NULL) {
        return -ESTALE;
    }
    const int result = store_check_xattr_name(inode->mode, name, -ENODATA);
    if (result < 0) {
        return result;
    }
    const struct ram_xattr *xattr = *find_xattr(inode, name);
    if (xattr == NULL) {
        return -ENODATA;
    }
    if (size > 0) {
        if (size < xattr->value_size) {
            return -ERANGE;
        }
        memcpy(value, xattr->bytes + list_bytes(xattr), xattr->value_size);
    }
    return xattr->value_size;
}

static struct ram_xattr *new_xattr(struct store_name name, const void *value, size_t size)
{
    struct ram_xattr *xattr = malloc(sizeof(*xattr) + name.length + 1 + size);
    if (xattr == NULL) {
        return NULL;
    }
    xattr->name_length = (uint8_t)name.length;
    xattr->value_size = (uint32_t)size;
    memcpy(xattr->bytes, name.bytes, name.length);
    xattr->bytes[name.length] = '\0';
    if (size > 0) {
        memcpy(xattr->bytes + name.length + 1, value, size);
    }
    return xattr;
}

int ram_set_xattr(struct store *store, const struct store_call *call, uint64_t number,
                  struct store_name name, const void *value, size_t size, int flags)
{
    struct ram_inode *inode = ram_find_inode(ram_of(store), number);
    if (inode == NULL) {
        return -ESTALE;
    }
    if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0) {
        return -EINVAL;
    }
    if (size > STORE_MAX_XATTR_VALUE) {
        return -E2BIG;
    }
    const int result = store_check_xattr_name(inode->mode, name, -EPERM);
    if (result < 0) {
        return result;
    }
    struct ram_xattr **link = find_xattr(inode, name);
    struct ram_xattr *old = *link;
    if (old != NULL && (flags & XATTR_CREATE) != 0) {
        return -EEXIST;
    }
    if (old == NULL && (flags & XATTR_REPLACE) != 0) {
        return -ENODATA;
    }
    struct ram_xattr *xattr = new_xattr(name, value, size);
    if (xattr == NULL) {
        return -ENOMEM;
    }
    const uint32_t list = inode->xattr_list_bytes - list_bytes(old) + list_bytes(xattr);
    const uint32_t bytes = inode->xattr_bytes - all_bytes(old) + all_bytes(xattr);
    const uint64_t had = store_xattr_pages(inode->xattr_bytes);
    const uint64_t needs = store_xattr_pages(bytes);
    struct store_charge charge = {0};
    if (list > STORE_MAX_XATTR_LIST ||
        (needs > had && store_charge_pages(store, call, needs - had, &charge) < 0)) {
        free(xattr);
        return -ENOSPC;
    }
    if (had > needs) {
        store_free_pages(store, had - needs);
    }
    xattr->next = old == NULL ? NULL : old->next;
    *link = xattr;
    free(old);
    inode->xattr_list_bytes = list;
    inode->xattr_bytes = bytes;
    inode->ctime = call->now;
    return 0;
}

int64_t ram_list_xattrs(struct store *store, uint64_t number, char *names, size_t size)
{
    const struct ram_inode *inode = ram_find_inode(ram_of(store), number);
    if (inode == NULL) {
        return -ESTALE;
    }
    if (size > 0) {
        if (size < inode->xattr_list_bytes) {
            return -ERANGE;
        }
        for (const struct ram_xattr *xattr = inode->xattrs; xattr != NULL; xattr = xattr->next) {
            memcpy(names, xattr->bytes, list_bytes(xattr));
            names += list_bytes(xattr);
        }
    }
    return inode->xattr_list_bytes;
}

int ram_remove_xattr(struct store *store, const struct store_call *call, uint64_t number,
                     struct store_name name)
{
    struct ram_store *ram = ram_of(store);
    struct ram_inode *inode = ram_find_inode(ram, number);
    if (inode == NULL) {
        return -ESTALE;
    }
    const int result = store_check_xattr_name(inode->mode, name, -EPERM);
    if (result < 0) {
        return result;
    }
    struct ram_xattr **link = find_xattr(inode, name);
    if (*link == NULL) {
        return -ENODATA;
    }
    drop(ram, inode, link);
    inode->ctime = call->now;
    return 0;
}
