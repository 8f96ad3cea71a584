// Loaded before the suite, which sends no credentials: every HTTP request of the process presents the key.
import { subscribe } from 'node:diagnostics_channel';

const held = `Bearer ${process.env.HUB_KEY}`;

subscribe('undici:request:create', ({ request }) => request.addHeader('authorization', held));
subscribe('http.client.request.created', ({ request }) => request.setHeader('authorization', held));
