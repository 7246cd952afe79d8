"""`/v1/chat/completions`: chat, and the chats that `store: true` keeps."""
