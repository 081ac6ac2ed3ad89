#include <twopass/core/node.h>

#include <algorithm>
#include <limits>
#include <string>

#include <twopass/core/counter.h>
#include <twopass/core/error.h>

namespace twopass {
namespace {

constinit Counter live_nodes;
thread_local constinit std::uint64_t last_number = 0;

// Nodes whose last reference is gone, linked through `number`: released in a loop, so that chains of any length need no
// stack. Trivially destructible, as nodes may outlive everything else of a thread.
thread_local constinit Node* doomed = nullptr;
thread_local constinit bool destroying = false;

std::size_t node_bytes(std::size_t inputs) { return sizeof(Node) + inputs * sizeof(Node::Edge); }

}  // namespace

std::int64_t Node::live() { return live_nodes.value(); }

std::uint64_t Node::next_number(std::uint64_t largest) { return last_number = std::max(largest, last_number) + 1; }

Node* Node::make(const Op* op, ArgumentsPointer arguments, Shape shape, DType dtype, std::uint8_t flags,
                 std::size_t inputs) {
  if (inputs > std::numeric_limits<std::uint16_t>::max())
    throw Error("a call takes at most 65535 inputs, not " + std::to_string(inputs));
  void* block = memory::allocate(node_bytes(inputs));
  Node* node = new (block) Node(op, std::move(arguments), std::move(shape), dtype, flags, inputs);
  for (Edge& edge : node->edges()) new (&edge) Edge;
  live_nodes.add(1);
  return node;
}

void Node::allocate_value() {
  const std::size_t size = bytes();
  if (size <= sizeof(small)) {
    data = reinterpret_cast<std::byte*>(&small);
  } else {
    buffer = Buffer(size);
    data = buffer.data();
  }
}

void Node::drop_handle() noexcept {
  std::uint64_t now = counts_.value();
  if (now == kHandle + kReference) return destroy(this);  // nobody else is left who could count
  while ((now & kHandles) > kHandle)
    if (counts_.remove_from(now, kHandle + kReference)) return;
  if (!is(kKeepsOutput)) {
    // This is the only handle: nobody can ask for the value any more, while the record may be needed still.
    buffer.reset();
    data = nullptr;
  }
  if (counts_.remove(kHandle + kReference) == 0) destroy(this);
}

void Node::drop_reference() noexcept {
  if (counts_.value() == kReference) return destroy(this);
  if (counts_.remove(kReference) < kReference) destroy(this);
}

void Node::destroy(Node* node) noexcept {
  node->number = reinterpret_cast<std::uintptr_t>(doomed);
  doomed = node;
  if (destroying) return;
  destroying = true;
  while (doomed) {
    Node* dead = doomed;
    doomed = reinterpret_cast<Node*>(dead->number);
    for (const Edge& edge : dead->edges()) {
      if (!edge.node()) continue;
      if (edge.keeps())
        edge.node()->drop_handle();
      else
        edge.node()->drop_reference();
    }
    const std::size_t inputs = dead->input_count;
    dead->~Node();
    memory::release(dead, node_bytes(inputs));
    live_nodes.add(-1);
  }
  destroying = false;
}

}  // namespace twopass
