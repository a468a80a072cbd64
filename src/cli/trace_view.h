/*
 * The messages between clients and a server as a sequence diagram in the terminal: a column
 * for each client and one for the server, an arrow for each message. Messages that are the same
 * and follow each other, as when an offset moves from line to line, share an arrow.
 *
 *        time  parent    client 1  client 2  server
 *     0.000 ms   |         |--------+--------->|  ACQUIRE  notes.txt  EXCLUSIVE
 *
 * trace_view_event() may be called from the server's thread, all the rest from one other.
 */
#ifndef HF_CLI_TRACE_VIEW_H
#define HF_CLI_TRACE_VIEW_H

#include <holdfast/server.h>
#include <stdbool.h>
#include <stdio.h>

struct trace_view;

/**
 * trace_view_new() - an empty diagram without columns
 * @limit: arrows kept; what comes later is counted only
 * @utf8:  draw with line characters; else with ASCII
 * @out:   free it with trace_view_free(); unchanged on failure
 *
 * Return: 0, -ENOMEM.
 */
int trace_view_new(size_t limit, bool utf8, struct trace_view **out);

/* @view may be NULL; no server calls trace_view_event() any more. Return: NULL. */
struct trace_view *trace_view_free(struct trace_view *view);

/* What hf_server_config.trace wants; its trace_context is the view. */
void trace_view_event(void *context, const hf_trace_event *event);

/* One more column, at the right of those there are. Return: its number from 0; -ENOMEM. */
int trace_view_add_column(struct trace_view *view, const char *title);

/* This connection's messages go into @column; it may get those of several. Connections that
 * nobody placed share a last column "other", which is there only if it is needed.
 * Return: 0, -ENOMEM. */
int trace_view_place_client(struct trace_view *view, uint64_t client, int column);

/* What to call the handle of the inode with this number. Return: 0, -ENOMEM. */
int trace_view_name_inode(struct trace_view *view, uint64_t inode, const char *name);

/* Print the column titles. */
void trace_view_print_titles(struct trace_view *view, FILE *out);

/* Print the messages that came since the last time. */
void trace_view_print(struct trace_view *view, FILE *out);

/* How many messages came after the limit was reached. */
uint64_t trace_view_left_out(struct trace_view *view);

#endif
